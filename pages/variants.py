"""Variants: what each of them gains in size, latency and memory, against what it keeps."""

import streamlit as st

from qviz.ui import build, page, tradeoff, uploads, view

with page.begin("Variants") as here:
    if here.models is None:
        page.verdict("Drop models to see what each variant gains.", "Images too: they tell what it keeps.")
        uploads.drop_zone("Models and images", key="variants")
        st.stop()
    view.show(here.view)
    headline = st.container()
    build.section(here)
    tradeoff.show(here, headline)
