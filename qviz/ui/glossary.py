"""The glossary, from `docs/glossary.md` and the table of accuracy metrics: a page, and the help of table columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from qviz.features.accuracy.ap import METRICS

PACKAGE = Path(__file__).resolve().parents[1]
HOMES = (PACKAGE / "dashboard", PACKAGE.parent)
"""Of an installed package, and of a clone."""
SECTION = "## Accuracy\n\n"
"""Where accuracy metrics are listed."""
LINE = re.compile(r"^- \*\*(.+?)\*\*: (.+)$", re.MULTILINE)


@cache
def text() -> str:
    """The whole glossary as Markdown, with the accuracy metrics that the file does not have."""
    file = next(home / "docs" / "glossary.md" for home in HOMES if (home / "docs" / "glossary.md").is_file())
    document = file.read_text(encoding="utf-8")
    listed = dict(LINE.findall(document))
    new = [f"- **{metric.label}**: {metric.meaning}\n" for metric in METRICS if metric.label not in listed]
    return document.replace(SECTION, SECTION + "".join(new))


@cache
def terms() -> dict[str, str]:
    """term -> its meaning."""
    return dict(LINE.findall(text()))


def meaning(term: str) -> str | None:
    """The meaning of a column or metric; None if the glossary has none."""
    return terms().get(term)


def numbers(formats: Mapping[str, str], terms: Mapping[str, str] | None = None) -> dict[str, ColumnConfig]:
    """Number columns by name, with their format and help.

    terms: Column -> its term in the glossary, for columns whose name differs from it.
    """
    return {
        name: st.column_config.NumberColumn(format=form, help=meaning((terms or {}).get(name, name)))
        for name, form in formats.items()
    }


def table(
    frame: pd.DataFrame,
    formats: Mapping[str, str],
    terms: Mapping[str, str] | None = None,
    columns: Mapping[str, ColumnConfig] | None = None,
    key: str | None = None,
    **options: Any,
) -> Any:
    """Draw a table and return what is selected in it.

    Args:
        formats, terms: Of its number columns, see `numbers`.
        columns: How the others are shown, where a column needs it.
    """
    config = {**(columns or {}), **numbers(formats, terms)}
    return st.dataframe(
        frame, hide_index=True, width="stretch", placeholder="–", key=key, column_config=config, **options
    )
