"""Files from outside: images, labels, annotations, settings. The only place that knows their formats."""
