"""Report: one self-contained HTML page to share with others, with the chosen sections, notes and images."""

import streamlit as st

from qviz.features.reporting import panel, panel_study
from qviz.ui import page, uploads, view

with page.begin("Report") as here:
    if here.workspace.study is not None:
        panel_study.show(here, here.workspace.study)
        uploads.drop_zone("A saved study")
        st.stop()
    here.require(
        "variants images",
        "A reference, a variant and images are needed for a report.",
        "Drop them here, or a study that was saved on another machine.",
    )
    view.show(here.view)
    page.verdict(
        "One page for the meeting: a single, self-contained file that works offline.",
        "Verdict, models, accuracy with intervals, worst images with their boxes, layers, what to do next, and how it"
        " was made. It prints on A4.",
    )
    request = panel.request_form(here)
    if request is not None and (study := panel.study_of(here, request)) is not None:
        panel.show(here, request, study)
    st.subheader("A saved study")
    st.caption("Drop its file here: it opens without its models.")
    uploads.drop_zone("A saved study")
