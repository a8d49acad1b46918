"""The chart and the graph of layers: what they draw, and the data that a click returns."""

from __future__ import annotations

from qviz.features.layer_error.graph import error_graph
from qviz.features.layer_error.outliers import Outliers, outliers
from qviz.features.layer_error.plot import KINDS, OTHER, Row, layer_error_chart, layer_graph_chart
from tests.features.layer_error.test_outliers import errors, layer
from tests.graphs import graph, op, tensor

LAYERS = (layer(0, 40.0), layer(1, 30.0, "ADD_N", fall=9.0), layer(2, None, "SQUEEZE"))
UNUSUAL = Outliers(frozenset({0}), frozenset({1}))


def test_one_variant_is_coloured_by_operator_type_and_outliers_are_ringed() -> None:
    figure = layer_error_chart([Row("int8", errors(*LAYERS), UNUSUAL, "#123456")], ("int8", 1))
    points = {(t.name, t.marker.symbol): t for t in figure.data if t.customdata is not None and t.name}
    assert points["CONV_2D", "diamond"].marker.color == KINDS["CONV_2D"]
    assert points["ADD", "circle"].marker.color == KINDS["ADD"]  # ADD_N counts as ADD
    assert points["other", "circle"].marker.color == OTHER
    assert list(points["ADD", "diamond"].customdata[0][:2]) == ["int8", 1]
    rings = next(t for t in figure.data if t.marker.symbol == "circle-open" and t.customdata is not None)
    assert list(zip(rings.x, rings.y, strict=True)) == [(0, 40.0), (1, 30.0)]  # a local one, a cumulative one
    assert figure.layout.shapes[0].x0 == 1
    assert figure.layout.yaxis.title.text == "SQNR, dB (higher is better)"


def test_several_variants_have_their_own_colours_and_share_an_axis() -> None:
    rows = [
        Row("a", errors(*LAYERS), outliers([]), "#111111"),
        Row("b", errors(*LAYERS), outliers([]), "#222222", {0: 5.0, 1: 6.0, 2: 6.5}),
    ]
    figure = layer_error_chart(rows, ("b", 1))
    lines = [t for t in figure.data if t.mode == "lines+markers"]
    assert [(t.name, t.line.color, list(t.x)) for t in lines] == [
        ("a", "#111111", [0, 1, 2]),
        ("b", "#222222", [5.0, 6.0, 6.5]),
    ]
    assert figure.layout.shapes[0].x0 == 6.0
    assert "reference" in figure.layout.xaxis.title.text


def test_markup_in_names_is_escaped() -> None:
    figure = layer_error_chart([Row("<b>int8</b>", errors(*LAYERS), UNUSUAL, "#123456")])
    assert not any("<b>" in (t.hovertemplate or "") + (t.name or "") for t in figure.data)


def test_unmeasured_blocks_are_hollow_and_others_have_their_worst_layer() -> None:
    names = ["image", *(f"scope_{i}/<i>x" for i in range(5))]
    ops = [op("CONV_2D", (i,), (i + 1,)) for i in range(4)] + [op("SOFTMAX", (1,), (5,))]
    network = graph([tensor(i, name) for i, name in enumerate(names)], (4, 5), ops)
    coloured_graph = error_graph(network, [layer(1), layer(2, cumulative=12.0), layer(4, cumulative=None)], UNUSUAL)
    hollow, coloured = layer_graph_chart(coloured_graph, chosen=2).data[-2:]
    assert [list(row[:3]) for row in coloured.customdata] == [[1, 3, 2]]
    assert list(coloured.marker.color) == [12.0] and list(coloured.marker.symbol) == ["square"]
    assert [row[0] for row in hollow.customdata] == [0, 4]
    assert list(hollow.marker.symbol) == ["circle-open", "circle-open"]
    assert "<i>" not in "".join([*hollow.text, *coloured.text])
