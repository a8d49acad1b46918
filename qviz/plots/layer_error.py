"""Error along the network: local and cumulative SQNR of every layer, in dB, higher is better.

Circles on the line are cumulative, diamonds local; one that stands out within its variant has a ring. One variant:
coloured by operator kind. Several: each has its own colour. A point's customdata begins with (variant, order).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from qviz.analysis.layer_error import LayerError, LayerErrors
from qviz.analysis.outliers import Outliers

KINDS = {
    "CONV_2D": "#4477AA",
    "DEPTHWISE_CONV_2D": "#228833",
    "ADD": "#CCBB44",
    "QUANTIZE": "#AA3377",
    "CONCATENATION": "#EE6677",
    "MUL": "#66CCEE",
}
"""Paul Tol's bright scheme, safe for the colour-blind; any other kind is grey."""
OTHER = "#8f969c"
RING = "#D55E00"
SHAPES = {"cumulative": "circle", "local": "diamond"}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One variant of the chart: short name, errors, what stands out in them, its colour.

    places: order -> where it stands on the axis; empty: at its order.
    """

    name: str
    errors: LayerErrors
    outliers: Outliers
    colour: str
    places: Mapping[int, float] = field(default_factory=dict)

    def place(self, order: int) -> float:
        return self.places.get(order, order)


def layer_error_chart(rows: Sequence[Row], chosen: tuple[str, int] | None = None) -> go.Figure:
    """Each variant's layers along the network; chosen: (variant, order) of the layer in view."""
    figure = go.Figure()
    for row in rows:
        figure.add_traces(_by_kind(row) if len(rows) == 1 else _in_one_colour(row))
    figure.add_traces([ring for row in rows if (ring := _rings(row, 14 if len(rows) == 1 else 10)) is not None])
    for label, symbol in {**SHAPES, "stands out": "circle-open"}.items():
        figure.add_trace(_sample(label, symbol))
    for x in (row.place(chosen[1]) for row in rows if chosen is not None and row.name == chosen[0]):
        figure.add_vline(x=x, line={"color": OTHER, "width": 1, "dash": "dot"})
    whose = "reference" if any(row.places for row in rows) else "variant"
    figure.update_xaxes(title=f"operator, in the order of the {whose}'s file", zeroline=False)
    figure.update_yaxes(title="SQNR, dB (higher is better)", rangemode="tozero", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 40, "b": 8}
    return figure.update_layout(height=400, margin=margin, legend=legend, clickmode="event+select", uirevision="layers")


def _by_kind(row: Row) -> list[go.Scatter]:
    layers = row.errors.layers
    line = go.Scatter(
        x=[row.place(layer.order) for layer in layers],
        y=[layer.cumulative_sqnr_db for layer in layers],
        mode="lines",
        line={"color": OTHER, "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    traces = [line]
    for kind in [*KINDS, ""]:
        found = [layer for layer in layers if _group(layer.op_kind) == kind]
        label, colour = kind or "other", KINDS.get(kind, OTHER)
        if found:
            traces.append(_points(row, found, "local", label, colour))
            traces.append(_points(row, found, "cumulative", label, colour, showlegend=True))
    return traces


def _in_one_colour(row: Row) -> list[go.Scatter]:
    layers, name = row.errors.layers, plain(row.name)
    line = _points(row, layers, "cumulative", name, row.colour, showlegend=True)
    line.update(mode="lines+markers", line={"color": row.colour, "width": 2})
    return [_points(row, layers, "local", name, row.colour), line]


def _points(
    row: Row, layers: Sequence[LayerError], which: str, label: str, colour: str, showlegend: bool = False
) -> go.Scatter:
    size = 7 if which == "cumulative" else 6
    marker = {"symbol": SHAPES[which], "size": size, "color": colour, "opacity": 1.0 if size == 7 else 0.7}
    return go.Scatter(
        x=[row.place(layer.order) for layer in layers],
        y=[_value(layer, which) for layer in layers],
        mode="markers",
        name=label,
        legendgroup=label,
        showlegend=showlegend,
        marker=marker,
        unselected={"marker": {"opacity": marker["opacity"]}},
        customdata=[[row.name, layer.order, *_facts(layer)] for layer in layers],
        hovertemplate=_HOVER + f"<extra>{plain(row.name)}, {which}</extra>",
    )


_HOVER = (
    "operator %{customdata[1]}: %{customdata[2]}<br>%{customdata[3]}<br>"
    "local %{customdata[4]}, cumulative %{customdata[5]}, fall %{customdata[6]}, clipped %{customdata[7]}"
)


def _facts(layer: LayerError) -> list[str]:
    clipped = "–" if layer.clipped_share is None else f"{layer.clipped_share:.1%}"
    return [
        plain(layer.op_kind),
        plain(layer.tensor[:70]),
        *(_db(value) for value in (layer.local_sqnr_db, layer.cumulative_sqnr_db, layer.fall_db)),
        clipped,
    ]


def _rings(row: Row, size: int) -> go.Scatter | None:
    found = [(layer, "local") for layer in row.errors.layers if layer.order in row.outliers.local]
    found += [(layer, "cumulative") for layer in row.errors.layers if layer.order in row.outliers.fall]
    if not found:
        return None
    return go.Scatter(
        x=[row.place(layer.order) for layer, _ in found],
        y=[_value(layer, which) for layer, which in found],
        mode="markers",
        marker={"symbol": "circle-open", "size": size, "color": RING, "line": {"width": 2}},
        unselected={"marker": {"opacity": 1}},
        customdata=[[row.name, layer.order] for layer, _ in found],
        hoverinfo="skip",
        showlegend=False,
    )


def _sample(label: str, symbol: str) -> go.Scatter:
    """A row of the legend without points."""
    colour = RING if symbol.endswith("open") else OTHER
    marker: dict[str, Any] = {"symbol": symbol, "size": 9, "color": colour}
    return go.Scatter(x=[None], y=[None], mode="markers", name=label, marker=marker, hoverinfo="skip")


def _value(layer: LayerError, which: str) -> float | None:
    return layer.local_sqnr_db if which == "local" else layer.cumulative_sqnr_db


def _group(kind: str) -> str:
    """The kind whose colour it shares; empty for the rest."""
    return kind if kind in KINDS else "ADD" if kind == "ADD_N" else ""


def _db(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} dB"


def plain(text: str) -> str:
    """Text from a file, for labels that Plotly reads as HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
