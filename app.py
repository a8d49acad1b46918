"""Overview: the models, what they really are, the headline damage, the worst images first."""

import streamlit as st

from qviz.features.comparison import panel_overview as home
from qviz.features.comparison.text import damage_verdict
from qviz.ui import page, uploads, view

with page.begin("Overview") as here:
    if here.models is None:
        page.verdict("No model is loaded.", "Drop an FP32 .tflite file and its quantized variants, or open the sample.")
        uploads.drop_zone("Models and images")
        st.stop()
    home.start(here)
    view.show(here.view)

    @st.fragment(run_every=home.beat(here))
    def findings() -> None:
        """What is known so far; looks again until all images have been run."""
        summaries, done = home.summaries(here)
        page.verdict(
            damage_verdict(home.reference_name(here), summaries, done),
            home.progress_note(here, done),
        )
        st.html(home.model_cards(here, summaries))
        if summaries and done:
            home.next_steps(here, summaries)
            st.subheader("Worst images first")
            home.worst_images(here)
        home.finish(here, done)

    findings()
    home.failures(here)
    st.subheader("Your own models and images")
    uploads.drop_zone("Models and images")
    st.caption(
        "Drop an FP32 .tflite file, any number of its variants, images (also as a zip), annotations, a label file."
        " They stay in this session."
    )
    home.manage(here)
