"""Charts of all layers: SQNR along the network.

Circles on the line show the cumulative SQNR, diamonds the local SQNR (dB, higher is better). A layer that stands out
within its variant has a ring, a selected one a blue ring. A single variant is coloured by operator type; several
variants have one colour each. The band beside the axis has the colours in which the picture of the network shows these
values. The customdata of a point begins with (variant, operator index).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from qviz.chart_style import REFERENCE, plain, variant_colour
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import CUMULATIVE, HOVER_METRICS, LOCAL, LayerError, Metric
from qviz.features.layer_error.outliers import Outliers, outliers
from qviz.features.layer_error.picture import RANGE, SCALE
from qviz.formatting import shortened

KINDS = {
    "CONV_2D": "#4477AA",
    "DEPTHWISE_CONV_2D": "#228833",
    "ADD": "#CCBB44",
    "QUANTIZE": "#AA3377",
    "CONCATENATION": "#EE6677",
    "MUL": "#66CCEE",
}
"""Operator type -> colour, from Paul Tol's bright scheme, which is safe for the colour-blind; other types are grey."""
OTHER = "#8f969c"
RING = "#D55E00"
SHAPES = {CUMULATIVE: "circle", LOCAL: "diamond"}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One variant in the chart.

    Attributes:
        positions: Operator -> position on the axis. An operator that is not listed is at its index in the variant's
            file.
    """

    name: str
    errors: LayerErrors
    outliers: Outliers
    colour: str
    positions: Mapping[int, float] = field(default_factory=dict)

    def position(self, order: int) -> float:
        return self.positions.get(order, order)


def figure(result: LayerErrors) -> go.Figure:
    """The chart of one variant's layers along the network."""
    return layer_error_chart([Row(result.variant, result, outliers(result.layers), variant_colour(0))])


def layer_error_chart(
    rows: Sequence[Row], chosen: tuple[str, int] | None = None, selected: Collection[int] = (), axis: str = ""
) -> go.Figure:
    """Each variant's layers along the network.

    Args:
        chosen: (variant, order) of the layer in view.
        selected: Further layers of that variant that are marked.
        axis: Name of the variant whose operator indices are on the axis, for its title. Empty: the reference's indices
            if the rows have positions, else each variant's own.
    """
    figure = go.Figure()
    for row in rows:
        figure.add_traces(_by_kind(row) if len(rows) == 1 else _in_one_colour(row))
    figure.add_traces([ring for row in rows if (ring := _rings(row, 14 if len(rows) == 1 else 10)) is not None])
    for metric, symbol in SHAPES.items():
        figure.add_trace(_sample(metric.name, symbol))
    figure.add_trace(_sample("stands out", "circle-open"))
    for row in rows:
        if chosen is not None and row.name == chosen[0]:
            figure.add_trace(_marked(row, {chosen[1], *selected}))
            figure.add_vline(x=row.position(chosen[1]), line={"color": OTHER, "width": 1, "dash": "dot"})
    model = plain(axis) if axis else "the reference" if any(row.positions for row in rows) else "the variant"
    figure.update_xaxes(title=f"operator, in the order of {model}'s file", zeroline=False)
    figure.update_yaxes(title="SQNR, dB (higher is better)", rangemode="tozero", zeroline=False)
    figure.update_layout(shapes=[*figure.layout.shapes, *_scale_band()])
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 40, "b": 8}
    return figure.update_layout(height=400, margin=margin, legend=legend, clickmode="event+select", uirevision="layers")


BAND_STEPS = 32


def _scale_band() -> list[dict[str, Any]]:
    """The band of colours beside the axis. Beyond the ends of the scale, it has the colours of the ends."""
    low, high = RANGE
    step = (high - low) / BAND_STEPS
    position = {"type": "rect", "xref": "paper", "x0": -0.008, "x1": -0.001, "yref": "y", "line_width": 0}
    return [
        {
            **position,
            "y0": low + i * step,
            "y1": low + (i + 1) * step,
            "fillcolor": _scale_colour((i + 0.5) / BAND_STEPS),
        }
        for i in range(BAND_STEPS)
    ]


def _scale_colour(share: float) -> str:
    """The colour at a position in [0, 1] on SCALE, interpolated between the two stops around it."""
    upper = next(i for i, (stop, _) in enumerate(SCALE) if i and stop >= share)
    (low, first), (high, second) = SCALE[upper - 1 : upper + 1]
    part = (share - low) / (high - low)
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in pairs)


def _marked(row: Row, orders: Collection[int]) -> go.Scatter:
    """Rings around these layers, at their cumulative SQNR."""
    layers = [layer for layer in row.errors.layers if layer.order in orders]
    return go.Scatter(
        x=[row.position(layer.order) for layer in layers],
        y=[layer.cumulative_sqnr_db for layer in layers],
        mode="markers",
        marker={"symbol": "circle-open", "size": 13, "color": REFERENCE, "line": {"width": 2.5}},
        unselected={"marker": {"opacity": 1}},
        customdata=[[row.name, layer.order] for layer in layers],
        hoverinfo="skip",
        showlegend=False,
    )


def _by_kind(row: Row) -> list[go.Scatter]:
    layers = row.errors.layers
    line = go.Scatter(
        x=[row.position(layer.order) for layer in layers],
        y=[layer.cumulative_sqnr_db for layer in layers],
        mode="lines",
        line={"color": OTHER, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    traces = [line]
    for kind in [*KINDS, ""]:
        chosen = [layer for layer in layers if _group(layer.op_kind) == kind]
        label, colour = kind or "other", KINDS.get(kind, OTHER)
        if chosen:
            traces.append(_points(row, chosen, LOCAL, label, colour))
            traces.append(_points(row, chosen, CUMULATIVE, label, colour, showlegend=True))
    return traces


def _in_one_colour(row: Row) -> list[go.Scatter]:
    layers, name = row.errors.layers, plain(row.name)
    line = _points(row, layers, CUMULATIVE, name, row.colour, showlegend=True)
    line.update(mode="lines+markers", line={"color": row.colour, "width": 2})
    return [_points(row, layers, LOCAL, name, row.colour), line]


def _points(
    row: Row, layers: Sequence[LayerError], metric: Metric, label: str, colour: str, showlegend: bool = False
) -> go.Scatter:
    size = 7 if metric is CUMULATIVE else 6
    marker = {"symbol": SHAPES[metric], "size": size, "color": colour, "opacity": 1.0 if size == 7 else 0.7}
    return go.Scatter(
        x=[row.position(layer.order) for layer in layers],
        y=[metric.value(layer) for layer in layers],
        mode="markers",
        name=label,
        legendgroup=label,
        showlegend=showlegend,
        marker=marker,
        unselected={"marker": {"opacity": marker["opacity"]}},
        customdata=[[row.name, layer.order, *_facts(layer)] for layer in layers],
        hovertemplate=_HOVER + f"<extra>{plain(row.name)}, {metric.name}</extra>",
    )


_HOVER = "%{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}"


def _facts(layer: LayerError) -> list[str]:
    figures = ", ".join(f"{metric.name} {metric.text(layer)}" for metric in HOVER_METRICS)
    return [plain(layer.name), plain(shortened(layer.tensor, 70)), figures]


def _rings(row: Row, size: int) -> go.Scatter | None:
    points = [(layer, LOCAL) for layer in row.errors.layers if layer.order in row.outliers.local]
    points += [(layer, CUMULATIVE) for layer in row.errors.layers if layer.order in row.outliers.fall]
    if not points:
        return None
    return go.Scatter(
        x=[row.position(layer.order) for layer, _ in points],
        y=[metric.value(layer) for layer, metric in points],
        mode="markers",
        marker={"symbol": "circle-open", "size": size, "color": RING, "line": {"width": 2}},
        unselected={"marker": {"opacity": 1}},
        customdata=[[row.name, layer.order] for layer, _ in points],
        hoverinfo="skip",
        showlegend=False,
    )


def _sample(label: str, symbol: str) -> go.Scatter:
    """An entry of the legend without points in the chart."""
    colour = RING if symbol.endswith("open") else OTHER
    marker: dict[str, Any] = {"symbol": symbol, "size": 9, "color": colour}
    return go.Scatter(x=[None], y=[None], mode="markers", name=label, marker=marker, hoverinfo="skip")


def _group(kind: str) -> str:
    """The operator type in `KINDS` whose colour this type has; empty if none."""
    return kind if kind in KINDS else "ADD" if kind == "ADD_N" else ""
