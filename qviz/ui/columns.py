"""Columns of figures: their format, and what they mean (with unit and direction) where one points at their head."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from qviz.ui import glossary


def numbers(formats: Mapping[str, str], terms: Mapping[str, str] | None = None) -> dict[str, ColumnConfig]:
    """formats: by column. terms: the glossary's name of a column whose own head is shorter."""
    return {
        name: st.column_config.NumberColumn(format=form, help=glossary.meaning((terms or {}).get(name, name)))
        for name, form in formats.items()
    }
