"""Robustness: when a variant breaks before the reference, which layers leave their range, what to calibrate with."""

import streamlit as st

from qviz.features.comparison import panel as compare
from qviz.features.corruption_sweep import panel as robustness_sweep
from qviz.features.corruption_sweep import panel_live as robustness_live
from qviz.features.corruption_sweep import panel_tabs as robustness_images
from qviz.features.corruption_sweep import panel_tabs as robustness_tabs
from qviz.ui import page, uploads, view

TABS = ("By severity", "What quantization adds", "Layers out of range", "All points")

with page.begin("Robustness") as here:
    found, images = here.models, here.workspace.images
    if found is None or not images:
        page.verdict("Drop models and photos to see what light does to each of them.", "Several, or a zip archive.")
        uploads.drop_zone("Models and images")
        st.stop()
    view.show(here.view)
    headline = st.container()
    image = here.workspace.image_named(here.view.image) or images[0]
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        robustness_live.choose_image(here, image)
    with right:
        uploads.drop_zone("Images")
    variants = compare.choose_variants(here, [])
    robustness_live.show(here, image, variants)

    st.subheader("Sweep")
    known = robustness_sweep.sources(here)
    source, asked = robustness_sweep.ask(here, known)
    finding = robustness_sweep.swept(here, source, asked) if asked is not None else None
    with headline:
        if finding is None:
            page.verdict(
                "Move the light and watch where a variant loses what the reference still sees.",
                "Then run the sweep: every corruption and severity, with intervals.",
            )
        else:
            robustness_sweep.headline(finding)
    if finding is not None:
        curves, interaction, saturation, table = st.tabs(TABS)
        with curves:
            robustness_tabs.curves(finding)
        with interaction:
            robustness_tabs.interaction(finding)
        with saturation:
            robustness_tabs.saturation(here, finding)
        with table:
            robustness_tabs.table(finding)
    robustness_images.show(here, source)
