"""TensorFlow Lite files: read their graph, say what they really are, feed them images and run them."""
