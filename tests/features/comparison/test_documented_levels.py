"""The rule of the verdict words is the one that the reference documents, and only one place in the code has it."""

from __future__ import annotations

import re

from qviz.features.comparison.text import COLOURS, LEVELS
from tests.conftest import ROOT

CSS = {"green": "ok", "amber": "some", "red": "bad"}


def test_the_table_of_the_reference() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\.\d\d|below \.\d\d)[^|]*\| ([a-z ]+) \| (green|amber|red) \|$", text, re.MULTILINE)
    minima = [0.0 if start.startswith("below") else float(start) for start, _, _ in rows]
    assert list(zip(minima, [word for _, word, _ in rows], strict=True)) == list(LEVELS)
    assert {word: CSS[colour] for _, word, colour in rows} == COLOURS


def test_no_other_file_has_the_words_in_a_table_of_its_own() -> None:
    word = re.compile(r"[\"']slightly changed[\"']")
    files = [path for path in (ROOT / "qviz").rglob("*") if path.suffix in (".py", ".js", ".css", ".html")]
    assert [path.name for path in files if word.search(path.read_text(encoding="utf-8"))] == ["text.py"]
