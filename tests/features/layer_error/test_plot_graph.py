"""The chart of layers: what it draws, and the data that a click returns."""

from __future__ import annotations

from qviz.chart_style import REFERENCE
from qviz.features.layer_error.outliers import Outliers, outliers
from qviz.features.layer_error.picture import RANGE
from qviz.features.layer_error.plot import KINDS, OTHER, Row, layer_error_chart
from tests.features.layer_error.test_outliers import errors, layer

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


def test_the_layers_in_view_are_ringed_and_colours_of_values_stand_beside_the_axis() -> None:
    figure = layer_error_chart([Row("int8", errors(*LAYERS), UNUSUAL, "#123456")], ("int8", 1), (1, 2), "int8")
    ring = next(t for t in figure.data if t.marker.color == REFERENCE)
    assert [list(row) for row in ring.customdata] == [["int8", 1], ["int8", 2]]
    band = [shape for shape in figure.layout.shapes if shape.xref == "paper"]
    assert (band[0].y0, band[-1].y1) == RANGE
    red, blue = ([int(shape.fillcolor[i : i + 2], 16) for i in (1, 3, 5)] for shape in (band[0], band[-1]))
    assert red[0] > red[2] and blue[0] < blue[2]
    assert figure.layout.xaxis.title.text == "operator, in the order of int8's file"
