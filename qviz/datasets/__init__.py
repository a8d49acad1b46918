"""Read files from outside: images, labels, annotations and settings. Other packages do not depend on their formats."""
