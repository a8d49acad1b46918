"""Diagnosis: the main reason why a variant loses objects, and how to get them back."""

import streamlit as st

from qviz.features.comparison.matching import worst_first
from qviz.features.diagnosis import panel_page
from qviz.ui import page, server, view

with page.begin("Diagnosis") as here:
    models = here.require(
        "models variants images",
        "Drop a float model, a quantized variant of it and photos to see why it loses objects.",
        "A .tflite file of each, and JPEG, PNG or WebP images.",
    )
    view.show(here.view)
    server.results().want(models.all, here.workspace.images)
    images, names = here.workspace.images, [models.name(variant) for variant in models.variants]
    compared = {models.name(one): server.compared(models, one, images, here.view.score) for one in models.variants}
    worst = min(names, key=lambda name: worst_first(compared[name].summary.agreement))
    shown = next((name for name in here.view.variants if name in names), worst)
    if len(names) > 1:
        chosen = st.pills("Variant", names, default=shown, key=f"diagnosis-{shown}", label_visibility="collapsed")
        if chosen and chosen != shown:
            view.change(variants=(chosen,))
            st.rerun()
    variant = models.variant_named(shown)
    assert variant is not None, "the name is one of theirs"
    panel_page.show(here, variant)
