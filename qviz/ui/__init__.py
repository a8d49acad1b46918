"""The dashboard's own rooms: page frame, workspace, calls to the analyses, controls and components."""
