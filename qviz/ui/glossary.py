"""What words and figures mean, from `docs/glossary.md`: the Glossary page shows it, tables show its lines as help.

Columns of figures: their format, and what they mean (with unit and direction) where one points at their head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

FILE = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
LINE = re.compile(r"^- \*\*(.+?)\*\*: (.+)$", re.MULTILINE)


@cache
def text() -> str:
    """The whole file as Markdown."""
    return FILE.read_text(encoding="utf-8")


@cache
def terms() -> dict[str, str]:
    """term -> its meaning."""
    return dict(LINE.findall(text()))


def meaning(term: str) -> str | None:
    """Of a column or a metric, or None where it needs no explaining."""
    return terms().get(term)


def numbers(formats: Mapping[str, str], terms: Mapping[str, str] | None = None) -> dict[str, ColumnConfig]:
    """formats: by column. terms: the glossary's name of a column whose own head is shorter."""
    return {
        name: st.column_config.NumberColumn(format=form, help=meaning((terms or {}).get(name, name)))
        for name, form in formats.items()
    }
