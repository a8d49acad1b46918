"""Report: one self-contained HTML page for the meeting, with the sections and images that are chosen."""

import streamlit as st

from qviz.ui import page, report, uploads, view

with page.begin("Report") as here:
    found = here.models
    if found is None or not found.variants or not here.workspace.images:
        page.verdict("A reference, a variant and images are needed for a report.", "Drop them here.")
        uploads.drop_zone("Models and images", key="report")
        st.stop()
    view.show(here.view)
    page.verdict(
        "One page for the meeting: a single file that opens anywhere and asks nobody for anything.",
        "Verdict, models, accuracy with intervals, worst images with their boxes, layers, what to do next, and how it"
        " was made. It prints on A4.",
    )
    asked = report.ask(here)
    job = report.job(here, asked) if asked is not None else None
    if job is not None and not job.future.done():
        report.wait_for(job)
        st.stop()
    if job is not None:
        report.download(job)
