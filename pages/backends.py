"""Backends: whether the same files give the same detections on other kernels, and which losses the kernels cause."""

from qviz.features.backends import panel
from qviz.ui import page, view

with page.begin("Backends") as here:
    here.require(
        "models images",
        "Drop a model and photos to see whether it answers alike on other kernels.",
        "A .tflite file, and JPEG, PNG or WebP images.",
    )
    view.show(here.view)
    panel.show(here)
