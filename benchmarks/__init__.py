"""Measurements; none is a test. Each prints the figures of qviz, of a peer and of a lower limit side by side."""
