"""Robustness: where a variant fails before the reference does, which layers leave their range, and which images to
calibrate with.
"""

import streamlit as st

from qviz.features.comparison import panel as compare
from qviz.features.corruption_sweep import panel, panel_images, panel_live
from qviz.ui import page, server, uploads, view
from qviz.ui.tabs import tabs

TABS = ("Live", "Sweep", "What quantization adds", "Layers out of range", "All points", "Calibration images")
OPENING = {
    "Live": (
        "Move the slider to see where a variant loses objects that the reference still finds.",
        "Sweep measures every corruption and severity, with intervals.",
    ),
    "Calibration images": (
        "Images that drive the network out of its calibrated ranges, and those that would widen the calibration.",
        "",
    ),
}

with page.begin("Robustness") as here:
    here.require(
        "models images",
        "Drop models and photos to see what light does to each model.",
        "Several files, or a zip archive.",
    )
    view.show(here.view)
    headline, zone = st.columns([5, 3])
    with zone:
        uploads.drop_zone("Images")
    live, sweep, *results, calibration = tabs("Robustness", TABS)
    in_view = here.view.tabs.get("Robustness", TABS[0])
    with sweep:
        source, request = panel.form(here)
        finding = panel.finding(here, source, request) if request is not None else None
    with headline:
        if in_view in OPENING:
            page.verdict(*OPENING[in_view])
        elif finding is None:
            page.verdict(
                "Run the sweep: every corruption and severity, with intervals.", "Live shows one image at once."
            )
        else:
            panel.headline(finding)
    if live.open:
        with live:
            image = here.workspace.image_named(here.view.image) or here.workspace.images[0]
            models = here.loaded
            compared = [server.compared(models, one, here.workspace.images, here.view.score) for one in models.variants]
            panel_live.show(here, image, compare.choose_variants(here, compared))
    if finding is not None:
        with sweep:
            panel.curves(finding)
    for tab, draw in zip(results, panel.RESULTS, strict=True):
        with tab:
            if finding is not None:
                draw(here, finding)
            else:
                st.caption("Known once the sweep has run.")
    if calibration.open:
        with calibration:
            panel_images.show(here, source)
