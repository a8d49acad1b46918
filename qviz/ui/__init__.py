"""Everything that the pages of the dashboard share: page layout, workspace, jobs, controls and components."""
