"""What a side has written, as plain values: JSON, CSV, HTML and text.

A text whose wording may change is `{TEXT: [lines]}`, a table `{TABLE: {"columns": [...], "rows": [[...]]}}`; the
comparer treats both in their own way. Pictures and other long strings stand as their digest.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import struct
from html.parser import HTMLParser
from typing import Any

TEXT, TABLE = "(text)", "(table)"
LONG = 1_000
"""Characters from which a string is a picture or a file and no word."""
TRACES = ("x", "y", "z", "r", "theta", "values", "base", "error_x", "error_y", "customdata")
"""What holds numbers in a trace of a Plotly figure; the rest is style."""
FORMATS = {"f8": "d", "f4": "f", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}


def number(text: str) -> Any:
    """A cell as the number or the row of numbers that it is, else as it stands."""
    try:
        if re.fullmatch(r"\[[-+\d.,e\s]+\]", text):
            return json.loads(text)
        return float(text) if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text) else text
    except ValueError:
        return text


def read_output(text: str, kind: str) -> Any:
    """Standard output or a file; kind: json, csv, html, md or text. JSON that is none stays a text."""
    if kind == "json" and text.strip():
        try:
            return short(json.loads(text))
        except ValueError:
            return {TEXT: text.splitlines()}
    if kind == "csv":
        rows = csv.DictReader(io.StringIO(text))
        return [{str(name): number(value or "") for name, value in row.items()} for row in rows]
    return read_html(text) if kind == "html" else {TEXT: text.splitlines()}


def short(value: Any) -> Any:
    """The same with a digest for every long string."""
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [short(item) for item in value]
    if isinstance(value, str) and len(value) > LONG:
        return f"digest:{hashlib.sha256(value.encode()).hexdigest()[:16]}"
    return value


def traces(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The numbers of a Plotly figure's traces."""
    return [{name: _array(trace[name]) for name in TRACES if name in trace} for trace in data]


def _array(value: Any) -> Any:
    """An array that Plotly has packed, as a list."""
    if isinstance(value, dict) and "bdata" in value:
        data = base64.b64decode(value["bdata"])
        code = FORMATS[value["dtype"]]
        values = list(struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data))
        return [None if item != item else item for item in values]
    if isinstance(value, dict):
        return {key: _array(item) for key, item in value.items() if key.startswith("array")}
    return short(value)


class _Page(HTMLParser):
    """Texts, tables, boxes and charts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.tables: list[dict[str, Any]] = []
        self.boxes: list[list[Any]] = []
        self.charts: list[Any] = []
        self._inside: list[str] = []
        self._cell: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "rect":
            self.boxes.append([number(attributes.get(name) or "") for name in ("x", "y", "width", "height")])
        if tag == "script" and attributes.get("type") == "application/json":
            tag = "chart"
        if tag in ("script", "style", "chart"):
            self._inside.append(tag)
        elif tag == "table":
            self.tables.append({"columns": [], "rows": []})
        elif tag == "tr" and self.tables:
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style") and self._inside:
            self._inside.pop()
        elif tag in ("td", "th") and self._cell is not None and self.tables and self.tables[-1]["rows"]:
            self.tables[-1]["rows"][-1].append(self._cell.strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "chart":
            self.charts.append(traces(json.loads(data).get("data", [])))
        elif self._cell is not None:
            self._cell += data
        elif not inside and data.strip():
            self.lines.append(" ".join(data.split()))


def read_html(text: str) -> dict[str, Any]:
    """A page's text, tables, boxes drawn and charts."""
    page = _Page()
    page.feed(text)
    page.close()
    tables = [{TABLE: _headed(table)} for table in page.tables]
    return {"text": {TEXT: page.lines}, "tables": tables, "boxes": page.boxes, "charts": page.charts}


def _headed(table: dict[str, Any]) -> dict[str, Any]:
    """The first row as the columns where it has no number."""
    first, *rest = table["rows"] or [[]]
    is_head = bool(rest) and not any(isinstance(number(word), float) for word in first)
    return {"columns": first, "rows": rest} if is_head else {"columns": [], "rows": table["rows"]}


def read_page(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the driver saw of a page of the dashboard."""
    if shown is None:
        return None
    pages = [read_html(text) for text in shown["html"]]
    lines = [line for page in pages for line in page["text"][TEXT]]
    options = [" | ".join(map(str, names)) for names in shown["options"]]
    return {
        "text": {TEXT: [*lines, *shown["texts"], *options]},
        "tables": [table for page in pages for table in page["tables"]] + [{TABLE: row} for row in shown["tables"]],
        "charts": [traces(chart) for chart in shown["charts"]],
        "components": short(shown["components"]),
        "errors": shown["errors"],
        "unsettled": shown["unsettled"],
    }
