"""TensorFlow Lite files: read their graph, find out how they are quantized, prepare their inputs and run them."""
