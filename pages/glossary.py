"""Glossary: what each word and figure means, with unit and direction."""

import streamlit as st

from qviz.ui import glossary, page, view

with page.begin("Glossary") as here:
    view.show(here.view)
    st.markdown(glossary.text().partition("\n")[2])
