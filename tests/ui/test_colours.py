"""A colour means one thing everywhere: in charts, in the viewer's script and style, and in the report."""

from __future__ import annotations

import re
from dataclasses import replace

from qviz.chart_style import CHANGES, REFERENCE, VARIANTS, variant_colour
from qviz.features.reporting.plot import ReportCharts
from qviz.ui.viewer import HERE
from tests.features.reporting.plain_study import plain_study

SCRIPT = (HERE / "rows.js").read_text(encoding="utf-8")
STYLE = (HERE / "viewer.css").read_text(encoding="utf-8")
DRAWN = {name: colour for name, colour in CHANGES.items() if name != "kept"}
"""A kept box has its model's own colour."""


def test_colours_of_changes_in_the_viewer() -> None:
    (row,) = re.findall(r"CHANGE_COLOURS = \{(.*?)\}", SCRIPT)
    assert dict(re.findall(r'(\w+): "(#\w+)"', row)) == DRAWN
    assert {name: colour for name, colour in re.findall(r"--(\w+): (#\w+);", STYLE) if name in DRAWN} == DRAWN


def test_colours_of_models_in_the_report() -> None:
    study = plain_study(len(VARIANTS))
    assert list(ReportCharts(study).colours.values()) == [REFERENCE, *VARIANTS]
    fewer = replace(study, models=study.models[:3])
    assert ReportCharts(fewer).colours == {
        name: ReportCharts(study).colours[name] for name in ReportCharts(fewer).colours
    }


def test_the_palette_repeats() -> None:
    assert variant_colour(len(VARIANTS)) == VARIANTS[0]
