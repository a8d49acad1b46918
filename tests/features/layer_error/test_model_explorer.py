"""Node data as Model Explorer reads it: its node_data_builder's format, node ids as its .tflite reader makes them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from qviz.features.layer_error.metrics import CLIPPED_SHARE, LOCAL, METRICS, Metric, node_data, node_data_json
from tests.features.layer_error.test_outliers import errors, layer

ERRORS = errors(layer(0, 41.23456789), layer(7, 12.5), layer(9, None)).layers


def test_node_data_has_every_measured_layer_by_index() -> None:
    data = node_data(ERRORS, LOCAL)
    assert data["results"] == {"0": {"value": 41.2346}, "7": {"value": 12.5}}
    assert "results" not in data["results"]  # Model Explorer would read it as the name of a graph


def test_values_have_their_unit_and_sums_are_hidden() -> None:
    share = node_data([replace(ERRORS[0], clipped_share=0.125)], CLIPPED_SHARE)
    assert share["results"] == {"0": {"value": 12.5}}  # per cent, as its heading says
    assert (share["hideAggregatedStats"], share["hideInChildrenStatsTable"]) == (["sum"], True)
    seconds = next(metric for metric in METRICS if metric.field == "seconds")
    assert node_data(ERRORS, seconds)["hideAggregatedStats"] == []


def test_the_gradient_spans_all_values_and_ends_in_red() -> None:
    local_mse = next(metric for metric in METRICS if metric.field == "local_mse")
    low_is_bad, high_is_bad = (node_data(ERRORS, metric)["gradient"] for metric in (LOCAL, local_mse))
    assert [item["stop"] for item in low_is_bad] == [0, 0.5, 1]
    assert low_is_bad[0]["bgColor"] == high_is_bad[-1]["bgColor"] == "#c0392b"
    # its reader takes six hexadecimal digits
    assert all(len(item["bgColor"]) == 7 and int(item["bgColor"][1:], 16) >= 0 for item in low_is_bad)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.field)
def test_every_metric_is_a_figure_of_a_layer(metric: Metric) -> None:
    data = json.loads(node_data_json(ERRORS, metric))
    assert all(isinstance(row["value"], float) for row in data["results"].values())
