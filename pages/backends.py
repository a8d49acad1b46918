"""Backends: whether the same files answer alike on other kernels, and whose the lost objects are."""

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
