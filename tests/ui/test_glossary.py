"""Every table column with a metric has a glossary line with unit and direction."""

from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from qviz.features.accuracy import panel_tables as accuracy_tables
from qviz.features.accuracy.ap import TABLE_METRICS as ACCURACY
from qviz.features.comparison import panel as compare
from qviz.features.cost import panel as tradeoff
from qviz.features.layer_error.metrics import TABLE_METRICS
from qviz.ui import glossary

METRICS = (
    *compare.TABLE_TERMS.values(),
    "Δ conf.",
    "IoU",
    "Δ IoU",
    "agreement",
    *(m.label for m in ACCURACY),
    "loss",
    "interval",
    "significant",
    "threshold",
    "F1",
    "F1 unmoved",
    "recovered %",
    "dAP",
    *(m.label for m in TABLE_METRICS),
    *tradeoff.NUMBER,
    "clean",
    "mPC",
    "rPC",
    "interaction",
    "half gone at",
    "out of range",
)
WITHOUT_DIRECTION = {"interval", "significant", "threshold"}


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_has_a_unit_and_a_direction(metric: str) -> None:
    meaning = glossary.meaning(metric)
    assert meaning is not None
    words = ("higher is better", "lower is better", "0 to 1", "below 0", "above 0", "1 to 1")
    assert metric in WITHOUT_DIRECTION or any(word in meaning for word in words), meaning


def test_accuracy_metrics_mean_the_same_in_the_file_and_in_the_table() -> None:
    assert [glossary.meaning(metric.label) for metric in ACCURACY] == [metric.meaning for metric in ACCURACY]


def test_a_new_accuracy_metric_is_in_the_glossary(monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(ACCURACY[0], label="AP95", meaning="AP at an IoU of .95 alone; ×100, higher is better.")
    monkeypatch.setattr(glossary, "TABLE_METRICS", (*ACCURACY, new))
    text = glossary.text.__wrapped__()
    assert f"## Accuracy\n\n- **AP95**: {new.meaning}\n" in text and text.count("**AP50**") == 1


def test_every_glossary_line_is_used() -> None:
    lines = [line for line in glossary.text().splitlines() if line.startswith("- ")]
    assert len(glossary.terms()) == len(lines) > 50
    assert accuracy_tables.FORMATS.keys() >= {"loss", "threshold"}


def test_a_column_without_glossary_line() -> None:
    assert glossary.meaning("tensor") is None


def test_no_number_is_shown_as_minus_zero() -> None:
    frame = pd.DataFrame(
        {"loss": [-0.04, -0.06, 0.3, None], "F1": [-0.004, 1.0, 2.0, 3.0], "class": ["a", "b", "c", "d"]}
    )
    columns = glossary.without_minus_zero(frame, {"loss": "%+.1f", "F1": "%.2f", "objects": "%d"})
    assert columns["loss"].tolist()[:3] == [0.0, -0.06, 0.3] and math.copysign(1, columns["loss"][0]) == 1
    assert columns["F1"].tolist() == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("figures", "form", "texts"),
    [
        ([17.96, 5.04, None], "%.1f", ["18.0", "5.0"]),
        ([233.1, 33.6], "%.1f", ["233.1", "33.6"]),
        ([0.912, 0.0], "%.3f", ["0.912", "0.000"]),
        ([9.97, 1.0], "%.2f", ["9.97", "1.00"]),
        ([None], "%.2f", []),
    ],
)
def test_all_figures_of_a_column_have_the_same_decimals(
    figures: list[float | None], form: str, texts: list[str]
) -> None:
    frame = pd.DataFrame({"size, MB": pd.array(figures, dtype="Float64")})
    assert glossary.same_decimals(frame, "size, MB") == form
    assert [form % figure for figure in figures if figure is not None] == texts
