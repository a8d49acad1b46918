"""Layers: how much error each layer of a variant adds, and how much has accumulated."""

from qviz.features.layer_error import panel_views
from qviz.ui import page, view

with page.begin("Layers") as here:
    here.require(
        "variants images",
        "The network of a variant, coloured by its error.",
        "Drop an FP32 .tflite file, a quantized variant of it and a few images: both run layer by layer, and each"
        " operator shows how much of the reference's signal is left.",
    )
    view.show(here.view)
    panel_views.show(here)
