"""Variants: how much each variant saves in size, latency and memory, and how to build a better one."""

import streamlit as st

from qviz.features.building import panel as build
from qviz.features.calibrating import panel as lab
from qviz.features.cost import panel as tradeoff
from qviz.features.rescuing import panel as rescue
from qviz.features.training import panel as train
from qviz.ui import page, uploads, view
from qviz.ui.tabs import tabs

TABS = {
    "Trade-off": tradeoff.show,
    "Build": build.show,
    "Calibration": lab.show,
    "Rescue": rescue.show,
    "Train": train.show,
}

with page.begin("Variants") as here:
    if here.models is None:
        page.verdict("Drop models to see what each variant gains.", "Add images to see what it loses.")
        uploads.drop_zone("Models and images")
        st.stop()
    view.show(here.view)
    for tab, show in zip(tabs("Variants", list(TABS)), TABS.values(), strict=True):
        with tab:
            show(here)
