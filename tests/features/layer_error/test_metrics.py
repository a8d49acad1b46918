"""One row of `METRICS` per figure of a layer; tables and charts read the rows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from qviz.features.layer_error.metrics import METRICS, TABLE_METRICS, LayerError, Metric
from qviz.features.layer_error.outliers import outliers
from qviz.features.layer_error.panel_views import table
from qviz.features.layer_error.plot import Row
from tests.features.layer_error.test_outliers import errors, layer


def test_every_figure_of_a_layer_has_its_row() -> None:
    facts = {"order", "tensor", "op_kind", "elements", "worst_image", "reference_order", "fixed_range"}
    figures = {field.name for field in fields(LayerError)} - facts - {"weight_channel", "column"}  # numbers of channels
    assert {metric.field for metric in METRICS} == figures
    assert len({metric.label for metric in METRICS}) == len({metric.name for metric in METRICS}) == len(METRICS)


def test_the_table_has_a_column_per_row() -> None:
    measured = errors(layer(0, 41.25), layer(7, None))
    shown = table(Row("int8", measured, outliers(measured.layers), "#000000"))
    assert [name for name in shown.columns if name in {metric.label for metric in METRICS}] == [
        metric.label for metric in TABLE_METRICS
    ]
    assert shown["local dB"].tolist()[0] == 41.25 and shown["local dB"].isna().tolist() == [False, True]


SHOWN = [
    (Metric("clipped_share", "clipped %", "clipped", "%", False), 0.125, "12.5%"),
    (Metric("fall_db", "fall dB", "fall", "dB", False), 3.04, "3.0 dB"),
    (Metric("local_mse", "local MSE", "local MSE", "", False, decimals=2), 0.5, "0.50"),
    (Metric("fall_db", "fall dB", "fall", "dB", False), None, "–"),
]


@pytest.mark.parametrize(("metric", "value", "text"), SHOWN)
def test_a_figure_as_text(metric: Metric, value: float | None, text: str) -> None:
    changed: dict[str, Any] = {metric.field: value}
    assert metric.text(replace(layer(0, None), **changed)) == text
