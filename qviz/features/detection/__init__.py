"""Detections of models on images: loading, batching, the detection cache."""
