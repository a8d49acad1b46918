"""The charts of the Variants page show the results' numbers; dominated models are faded, the front is joined."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.chart_style import faded
from qviz.features.cost import ModelProfile
from qviz.features.cost.measure import OperatorTime
from qviz.features.cost.plot import operator_times, tradeoff_scatter
from qviz.features.cost.tradeoff import Point, tradeoff

COLOURS = {"float32": "#0072B2", "<b>int8": "#009E73", "wrong": "#56B4E9", "?": "#CC79A7"}
POINTS = [
    Point("float32", 18_000_000, 20.0, 1.0),
    Point("<b>int8", 4_500_000, 10.0, 0.87),
    Point("wrong", 4_500_000, 10.1, 0.1),
    Point("?", 1_000_000, 1.0, None),
]


def test_the_front_is_joined_and_dominated_models_faded() -> None:
    front, *bubbles = tradeoff_scatter(tradeoff(POINTS), COLOURS).data
    assert (list(front.x), list(front.y)) == ([10, 20], [0.87, 1])
    assert [bubble.name for bubble in bubbles] == [
        "float32",
        "&lt;b&gt;int8",
        "wrong",
    ]  # a point of unknown quality is not drawn
    assert [bubble.x[0] for bubble in bubbles] == [20, 10, 10.1]
    assert [bubble.marker.color for bubble in bubbles] == [
        faded(COLOURS["float32"], 1.0),
        faded(COLOURS["<b>int8"], 1.0),
        faded(COLOURS["wrong"], 0.35),
    ]
    large, small, _ = (bubble.marker.size for bubble in bubbles)
    assert large / small == pytest.approx(2)  # four times the bytes: four times the area
    assert bubbles[2].customdata[0][2] == "dominated by &lt;b&gt;int8"
    assert list(bubbles[0].customdata[0]) == ["18.0 MB", "20.0 ms", "on the Pareto front"]


def test_bubbles_are_latencies_on_the_size_axis() -> None:
    front, first, _, second = tradeoff_scatter(tradeoff(POINTS), COLOURS, "size").data
    assert list(front.x) == [4.5, 18]
    assert first.marker.size / second.marker.size == pytest.approx(2**0.5)


def test_time_on_an_npu_names_it_and_what_is_not_counted() -> None:
    point = Point("<b>int8", 4, 23.6, 0.87, accelerator="ethos-u55-256", cpu_operators=44)
    figure = tradeoff_scatter(tradeoff([point]), COLOURS)
    _, bubble = figure.data
    assert bubble.customdata[0][1] == "23.6 ms on ethos-u55-256, 44 operators on the CPU not counted"
    assert figure.layout.xaxis.title.text == "ms on ethos-u55-256, estimated (lower is better)"


def test_names_of_neighbours_do_not_overlap() -> None:
    near = [Point("float32", 18_000_000, None, 1.0), Point("<b>int8", 5_370_000, None, 0.88)]
    near += [Point("wrong", 5_020_000, None, 0.95), Point("?", 5_370_000, None, 0.36)]
    sides = {bubble.name: bubble.textposition for bubble in tradeoff_scatter(tradeoff(near), COLOURS, "size").data[1:]}
    assert sides == {
        "float32": "top center",
        "wrong": "top center",
        "&lt;b&gt;int8": "bottom center",
        "?": "top center",
    }


def test_the_joined_front_depends_on_the_axes() -> None:
    """The third is the smallest, so no model dominates it, but on this chart's axes it is dominated."""
    points = [*POINTS[:2], Point("small", 1_000_000, 30.0, 0.9)]
    colours = {**COLOURS, "small": "#888888"}
    by_latency, by_size = (tradeoff_scatter(tradeoff(points), colours, x).data[0] for x in ("latency", "size"))
    assert (list(by_latency.x), list(by_size.x)) == ([10, 20], [1, 18])


def test_ap_is_drawn_in_points() -> None:
    points = [Point("float32", 2, 1.0, 0.315, "AP"), Point("wrong", 1, 2.0, 0.2, "AP")]
    figure = tradeoff_scatter(tradeoff(points), COLOURS)
    assert [trace.y[0] for trace in figure.data[1:]] == [31.5, 20]
    assert figure.layout.yaxis.title.text == "AP ×100 (higher is better)"
    assert tradeoff_scatter(tradeoff(POINTS), COLOURS).layout.yaxis.title.text == "agreement (higher is better)"


def test_unknown_values_give_an_empty_chart() -> None:
    (front,) = tradeoff_scatter(tradeoff(POINTS[3:]), COLOURS).data
    assert list(front.x) == []


def test_operator_times_are_sorted_by_type() -> None:
    times = [("CONV_2D", 2.0), ("ADD", 1.0), ("CONV_2D", 3.0), ("<i>", 0.5)]
    operators = tuple(OperatorTime(i, kind, f"t{i}", ms, (i,)) for i, (kind, ms) in enumerate(times))
    row = ModelProfile("m", "d", "int8", 1, 1, 5, 6.0, 6.0, 7.0, 5.0, 6.0, 1.0, None, operators)
    figure = operator_times(row, "#009E73")
    (bars,) = figure.data
    assert list(bars.y) == ["&lt;i&gt; · 1", "ADD · 1", "CONV_2D · 2"]  # Plotly counts from below
    assert list(bars.x) == pytest.approx([0.5, 1, 5])
    assert bars.text[2] == "5.00 ms, 77%"
    assert operator_times(replace(row, operators=()), "#009E73").data[0].x == ()
