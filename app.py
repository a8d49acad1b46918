"""Overview: the models, what they really are, what was lost, the worst images first."""

import streamlit as st

from qviz.features.comparison import panel_files, panel_overview
from qviz.ui import page, uploads, view

with page.begin("Overview") as here:
    here.require(
        "models", "No model is loaded.", "Drop an FP32 .tflite file and its quantized variants, or open the sample."
    )
    view.show(here.view)
    panel_overview.show(here)
    st.subheader("Your own models and images")
    uploads.drop_zone("Models and images")
    st.caption(
        "Drop an FP32 .tflite file, any number of its variants, images (also as a zip), annotations, a label file."
        " They are saved as a project, see the sidebar."
    )
    panel_files.show(here)
