"""Readers for untrusted files: images, labels, annotations and settings. No other package depends on their formats."""
