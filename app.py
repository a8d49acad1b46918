"""Overview: the models, what they really are, what was lost, the worst images first."""

import streamlit as st

from qviz.features.comparison import panel_files, panel_overview
from qviz.ui import page, uploads, view

with page.begin("Overview") as here:
    if here.models is None:
        page.verdict("No model is loaded.", "Drop your own files here, or open the sample in the sidebar.")
        uploads.drop_zone("Models and images")
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
