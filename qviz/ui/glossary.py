"""What words and figures mean, from `docs/glossary.md`: the Glossary page shows it, tables show its lines as help."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

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
