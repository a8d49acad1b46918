"""Error along the network: local and cumulative SQNR of every layer, in dB, higher is better.

Circles on the line are cumulative, diamonds local; one that stands out within its variant has a ring. One variant:
coloured by operator kind. Several: each has its own colour. A point's customdata begins with (variant, order).

The network as a graph from top to bottom, each block coloured by the lowest SQNR in it (dB, higher is better).

Squares are folded blocks, circles single operators; hollow ones hold no layer that differs. A ring means that a layer
inside stands out. A node's customdata begins with its operators' first and last order and its worst layer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from qviz.features.layer_error import LayerError, LayerErrors, Outliers
from qviz.features.layer_error.graph import BUS, ErrorGraph, GraphNode, Point

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


SCALE = ((0.0, "#b2182b"), (0.35, "#ef8a62"), (0.65, "#e3c565"), (1.0, "#67a9cf"))
"""Red, yellow, blue: safe for the colour-blind, visible on light and dark."""
ROW, TOP = 30, 38
"""Pixels."""
LETTERS = 102
"""Of all labels in one row."""
TITLES = {"cumulative_sqnr_db": "cumulative", "local_sqnr_db": "local"}


def layer_graph_chart(graph: ErrorGraph, chosen: int | None = None, ink: str = OTHER) -> go.Figure:
    """chosen: the order of the layer in view, whose node is framed. ink: the colour of text on the page."""
    layout = graph.layout
    figure = go.Figure()
    figure.add_trace(_edges((route for route in layout.routes if len(route) <= 4), 1.5, 0.9))
    figure.add_trace(_edges((route for route in layout.routes if len(route) > 4), 1.0, 0.6))
    framed = graph.node_of(chosen)
    figure.add_trace(_frames(graph, [node for node in graph.nodes if node.outliers], "circle-open", RING, 23))
    figure.add_trace(_frames(graph, [framed] if framed is not None else [], "square-open", "#0072B2", 27))
    figure.add_traces([_nodes(graph, ink, differ) for differ in (False, True)])
    rows = 1 + max((row for _, row in layout.positions), default=0)
    wide = layout.lanes + BUS * (layout.buses + 1)
    figure.update_xaxes(visible=False, range=[-0.1, max(wide, 2.0)], fixedrange=True)
    figure.update_yaxes(visible=False, range=[rows - 0.4, -0.6], fixedrange=True)
    margin = {"l": 4, "r": 4, "t": TOP, "b": 8}
    return figure.update_layout(height=ROW * rows + TOP + 8, margin=margin, showlegend=False, clickmode="event+select")


def _edges(routes: Iterable[Sequence[Point]], width: float, opacity: float) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for route in routes:
        xs += [*(x for x, _ in route), None]
        ys += [*(y for _, y in route), None]
    line = {"color": OTHER, "width": width}
    return go.Scatter(x=xs, y=ys, mode="lines", line=line, opacity=opacity, hoverinfo="skip")


def _frames(graph: ErrorGraph, nodes: Sequence[GraphNode], symbol: str, colour: str, size: int) -> go.Scatter:
    places = [position for node, position in zip(graph.nodes, graph.layout.positions, strict=True) if node in nodes]
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5}}
    xs, ys = [x for x, _ in places], [y for _, y in places]
    unselected = {"marker": {"opacity": 1}}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, unselected=unselected, hoverinfo="skip")


def _nodes(graph: ErrorGraph, ink: str, differ: bool) -> go.Scatter:
    """Those that hold a layer that differs, coloured; or the others, hollow."""
    both = zip(graph.nodes, graph.layout.positions, strict=True)
    found = [(node, place) for node, place in both if (node.worst_db is not None) == differ]
    marker: dict[str, Any] = {"symbol": [_symbol(node) for node, _ in found], "size": 16, "color": OTHER}
    if differ:
        rows = 1 + max((row for _, row in graph.layout.positions), default=0)
        values = [node.worst_db for node, _ in found]
        colours = {"color": values, "colorscale": SCALE, "colorbar": _scale(TITLES[graph.metric], rows)}
        marker |= {**colours, "line": {"width": 1, "color": OTHER}}
    letters = LETTERS // max(graph.layout.lanes, 3)
    return go.Scatter(
        x=[lane for _, (lane, _) in found],
        y=[row for _, (_, row) in found],
        mode="markers+text",
        marker=marker,
        text=[_label(node, letters) for node, _ in found],
        textposition="middle right",
        textfont={"size": 12, "color": ink},
        cliponaxis=False,
        unselected={"marker": {"opacity": 1}},
        customdata=[[node.orders[0], node.orders[-1], node.worst, _hover(node)] for node, _ in found],
        hovertemplate="%{customdata[3]}<extra></extra>",
    )


def _scale(title: str, rows: int) -> dict[str, Any]:
    """The colour scale, lying above the input."""
    heading = {"text": f"lowest {title} SQNR inside, dB (higher is better)", "side": "top"}
    place = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + 4 / (ROW * rows), "yanchor": "bottom"}
    return {"title": heading, "thickness": 8, "len": 0.36, **place}


def _symbol(node: GraphNode) -> str:
    shape = "square" if node.folded else "circle"
    return shape if node.worst_db is not None else f"{shape}-open"


def _label(node: GraphNode, letters: int) -> str:
    text = (node.name or node.kinds) if node.folded else f"{node.orders[0]} {node.kinds} {node.name.split('/')[-1]}"
    shown = text if len(text) <= letters else text[: letters - 1] + "…"
    value = "" if node.worst_db is None else f"  <b>{node.worst_db:.0f}</b>"
    return f"  {plain(shown)}{value}"


def _hover(node: GraphNode) -> str:
    first, last = node.orders[0], node.orders[-1]
    lines = [f"operators {first} to {last}" if node.folded else f"operator {first}", plain(node.name), node.kinds]
    if node.worst_db is not None:
        lines.append(f"lowest: {node.worst_db:.1f} dB at operator {node.worst}")
    if node.outliers:
        lines.append(f"stands out: {', '.join(map(str, node.outliers))}")
    if node.folded:
        lines.append("a click unfolds it")
    return "<br>".join(line for line in lines if line)
