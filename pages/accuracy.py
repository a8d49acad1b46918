"""Accuracy: AP of every model, how much each variant loses (with an interval), and what causes the loss."""

import streamlit as st

from qviz.features.accuracy import panel, panel_tables, panel_tabs
from qviz.ui import dataset_choice, page, uploads, view

with page.begin("Accuracy") as here:
    sources = dataset_choice.sources(here)
    if here.models is None or not sources:
        page.verdict(
            "Drop a model, its variants and annotated images to measure accuracy.",
            "Drop annotations (a COCO file) together with their images, as files or as a zip archive.",
        )
        uploads.drop_zone("Annotations and images")
        st.stop()
    view.show(here.view)
    headline = st.container()
    left, right = st.columns([3, 2], vertical_alignment="center")
    with right:
        uploads.drop_zone("Annotations and images")
    with left:
        source = dataset_choice.choose(sources)
        if source is None:
            panel.offer_reference_as_truth()
            st.stop()
    with headline:
        finding = panel.evaluated(here.models, source)
        if finding is None:
            st.stop()
        panel.headline(finding)
    panel.overview(finding)
    if finding.losses:
        variant, label = panel.choose(here, finding)
        panel_tabs.show(here, finding, variant, label)
    else:
        panel_tables.show(panel_tables.class_rows(finding.evaluation, finding.names))
    panel_tabs.downloads(finding)
