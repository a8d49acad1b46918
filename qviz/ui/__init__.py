"""The frame of the dashboard: page layout, workspace, jobs, controls and components."""
