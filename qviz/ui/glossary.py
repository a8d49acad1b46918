"""The glossary page and the help texts of table columns, from `docs/glossary.md` and the table of accuracy metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from qviz.features.accuracy.ap import TABLE_METRICS

PACKAGE = Path(__file__).resolve().parents[1]
HOMES = (PACKAGE / "dashboard", PACKAGE.parent)
"""Folders that may contain `docs`: in an installed package, and in a clone."""
SECTION = "## Accuracy\n\n"
"""The heading below which the accuracy metrics are inserted."""
THREE = "three"
"""Format of a column whose largest figure gets three significant figures; see `table`."""
LINE = re.compile(r"^- \*\*(.+?)\*\*: (.+)$", re.MULTILINE)


@cache
def text() -> str:
    """The whole glossary as Markdown, including the accuracy metrics that are not in the file."""
    file = next(home / "docs" / "glossary.md" for home in HOMES if (home / "docs" / "glossary.md").is_file())
    document = file.read_text(encoding="utf-8")
    listed = dict(LINE.findall(document))
    new = [f"- **{metric.label}**: {metric.meaning}\n" for metric in TABLE_METRICS if metric.label not in listed]
    return document.replace(SECTION, SECTION + "".join(new))


@cache
def terms() -> dict[str, str]:
    """Term -> its meaning."""
    return dict(LINE.findall(text()))


def meaning(term: str) -> str | None:
    """The meaning of a column or metric, or None if it is not in the glossary."""
    return terms().get(term)


def numbers(formats: Mapping[str, str], terms: Mapping[str, str] | None = None) -> dict[str, ColumnConfig]:
    """Column name -> configuration of a number column with its format and help text.

    `terms` maps a column to its term in the glossary, for columns that have another name than the term.
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
    """Draw a table and return its selection.

    Args:
        formats, terms: Formats and glossary terms of the number columns, see `numbers`. All figures of a column with
            the format THREE get the same number of decimals.
        columns: Configurations of other columns that need one.
    """
    formats = {name: same_decimals(frame, name) if form == THREE else form for name, form in formats.items()}
    config = {**(columns or {}), **numbers(formats, terms)}
    frame = frame.assign(**without_minus_zero(frame, formats))
    return st.dataframe(
        frame, hide_index=True, width="stretch", placeholder="–", key=key, column_config=config, **options
    )


def same_decimals(frame: pd.DataFrame, name: str) -> str:
    """The format of a column: three significant figures for its largest figure, but at least one decimal."""
    figures = frame[name].dropna().abs() if name in frame else ()
    largest = max((float(figure) for figure in figures if figure), default=1.0)
    return f"%.{min(max(2 - math.floor(math.log10(largest)), 1), 3)}f"


def without_minus_zero(frame: pd.DataFrame, formats: Mapping[str, str]) -> dict[str, Any]:
    """The number columns with 0 in place of what would be shown as -0, -0.0 or -0.00."""
    columns = {}
    for name, form in formats.items():
        decimals = re.fullmatch(r"%\+?\.(\d)f", form)
        if decimals and name in frame and pd.api.types.is_float_dtype(frame[name]):
            columns[name] = frame[name].mask(frame[name].round(int(decimals[1])) == 0, 0.0)
    return columns
