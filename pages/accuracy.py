"""Accuracy: AP of every model, what each variant loses and how sure that is, and what stands behind it."""

import streamlit as st

from qviz.features.accuracy import panel as accuracy
from qviz.features.accuracy import panel_tables as accuracy_tables
from qviz.features.accuracy import panel_tabs as accuracy_files
from qviz.features.accuracy import panel_tabs as accuracy_tabs
from qviz.ui import dataset_choice, page, uploads, view

with page.begin("Accuracy") as here:
    known = dataset_choice.sources(here)
    if here.models is None or not known:
        page.verdict(
            "Drop a model, its variants and annotated images to measure accuracy.",
            "Annotations as a COCO file, with their images in the same go, as files or as a zip archive.",
        )
        uploads.drop_zone("Annotations and images")
        st.stop()
    view.show(here.view)
    headline = st.container()
    source = dataset_choice.choose(known)
    with headline:
        if source is None:
            accuracy.ask(here)
            uploads.drop_zone("Annotations and images")
            st.stop()
        finding = accuracy.evaluated(here, source)
        if finding is None:
            st.stop()
        accuracy.headline(finding)
    accuracy.overview(finding)
    if finding.losses:
        variant, label = accuracy.choose(here, finding)
        accuracy_tabs.show(here, finding, variant, label)
    else:
        accuracy_tables.show(accuracy_tables.class_rows(finding.evaluation, finding.names))
    accuracy_files.downloads(finding)
    st.subheader("Another dataset")
    uploads.drop_zone("Annotations and images")
