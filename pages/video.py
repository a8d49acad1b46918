"""Video: which objects flicker on the frames of a clip with both models, in which second, and links to Compare."""

import streamlit as st

from qviz.features.video import panel, panel_file
from qviz.ui import page, view

with page.begin("Video") as here:
    models = here.require(
        "models variants",
        "Drop a float model and a quantized variant of it; then a clip shows what flickers.",
        "A .tflite file of each. The clip: MP4, MOV, WebM, MKV or AVI.",
    )
    view.show(here.view)
    headline = st.container()
    names = [models.name(variant) for variant in models.variants]
    shown = next((name for name in here.view.variants if name in names), names[0])
    left, right = st.columns([3, 2], gap="medium")
    with left:
        clip = panel_file.dropped()
    with right:
        chosen = st.pills("Variant", names, default=shown, key=f"video-{shown}", wrap=True)
    if chosen and chosen != shown:
        view.change(variants=(chosen,))
        st.rerun()
    variant = models.variant_named(shown)
    if clip is None or variant is None:
        with headline:
            page.verdict(
                "Drop a clip to see what flickers, and in which second.",
                "MP4, MOV, WebM, MKV or AVI. Both models run on its frames; nothing leaves this machine.",
            )
        st.stop()
    panel.show(here, variant, clip, headline)
