"""One page that speaks for itself: a study as a single HTML file that asks nobody for anything."""

from __future__ import annotations

from qviz.report.page import render
from qviz.report.sections import SECTIONS, available

__all__ = ["SECTIONS", "available", "render"]
