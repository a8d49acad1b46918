"""Overview: the models with their actual quantization schemes, and what the variants lost, the worst images first."""

import streamlit as st

from qviz.features.comparison import panel_files, panel_overview
from qviz.ui import clicks, page, sample, uploads, view

DEMO = "A toy detector of coloured squares, its int8 file, which loses objects, and eight annotated images."

with page.begin("Overview") as here:
    if here.models is None:
        other = ", open the sample in the sidebar" if sample.is_installed() else ""
        page.verdict("No model is loaded.", f"Drop your own files here{other}, or open the demo, a toy detector.")
        uploads.drop_zone("Models and images")
        clicks.button(st, "Open the demo", page.open_demo, "demo-open", st.rerun, help=DEMO)
        panel_overview.empty()
        st.stop()
    view.show(here.view)
    headline, zone = st.columns([5, 3])
    with zone:
        uploads.drop_zone("Models and images")
    with headline:
        panel_overview.verdict(here)
    panel_overview.show(here)
    panel_files.show(here)
