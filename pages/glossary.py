"""Glossary: what each term and metric means, with its unit and whether higher or lower is better."""

import streamlit as st

from qviz.ui import glossary, page, view

with page.begin("Glossary") as here:
    view.show(here.view)
    st.markdown(glossary.text().partition("\n")[2])
