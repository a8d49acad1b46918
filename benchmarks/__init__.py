"""Measurements, never timed tests. Each prints ours, the peer's and the limit's figures side by side."""
