"""Robustness: when a variant breaks before the reference, which layers leave their range, what to calibrate with."""

import streamlit as st

from qviz.features.comparison import panel as compare
from qviz.features.corruption_sweep import panel, panel_images, panel_live
from qviz.ui import page, uploads, view
from qviz.ui.tabs import tabs

TABS = ("By severity", "What quantization adds", "Layers out of range", "All points")

with page.begin("Robustness") as here:
    here.require(
        "models images",
        "Drop models and photos to see what light does to each model.",
        "Several files, or a zip archive.",
    )
    view.show(here.view)
    headline = st.container()
    image = here.workspace.image_named(here.view.image) or here.workspace.images[0]
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        panel_live.choose_image(here, image)
    with right:
        uploads.drop_zone("Images")
    panel_live.show(here, image, compare.choose_variants(here, []))

    st.subheader("Sweep")
    source, request = panel.form(here)
    finding = panel.finding(here, source, request) if request is not None else None
    with headline:
        if finding is None:
            page.verdict(
                "Move the slider to see where a variant loses objects that the reference still finds.",
                "Then run the sweep: every corruption and severity, with intervals.",
            )
        else:
            panel.headline(finding)
    if finding is not None:
        curves, interaction, saturation, table = tabs("Robustness", TABS)
        with curves:
            panel.curves(finding)
        with interaction:
            panel.interaction(finding)
        with saturation:
            panel.saturation(here, finding)
        with table:
            panel.table(finding)
    panel_images.show(here, source)
