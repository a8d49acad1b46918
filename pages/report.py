"""Report: one self-contained HTML page for the meeting, with the sections, notes and images that are chosen."""

import streamlit as st

from qviz.features.reporting import panel as report
from qviz.features.reporting import panel as report_job
from qviz.features.reporting import panel_study as report_study
from qviz.ui import page, uploads, view

with page.begin("Report") as here:
    found, study = here.models, here.workspace.study
    if study is not None:
        report_study.show(here, study)
        uploads.drop_zone("A saved study")
        st.stop()
    if found is None or not found.variants or not here.workspace.images:
        page.verdict(
            "A reference, a variant and images are needed for a report.",
            "Drop them here, or a study that was saved on another machine.",
        )
        uploads.drop_zone("Models and images")
        st.stop()
    view.show(here.view)
    page.verdict(
        "One page for the meeting: a single file that opens anywhere and asks nobody for anything.",
        "Verdict, models, accuracy with intervals, worst images with their boxes, layers, what to do next, and how it"
        " was made. It prints on A4.",
    )
    asked = report.ask(here)
    job = report.job(here, asked) if asked is not None else None
    if asked is not None and job is not None:
        if not job.future.done():
            report_job.wait_for(job)
            st.stop()
        made = report_job.settled(job)
        if made is None:
            report.forget()
            st.info("Stopped. What was detected so far is kept.")
        else:
            report.show(here, asked, made)
    st.subheader("A study that was saved")
    st.caption("Drop its file here: it opens without its models.")
    uploads.drop_zone("A saved study")
