"""The network as a graph from top to bottom, each block coloured by the lowest SQNR in it (dB, higher is better).

Squares are folded blocks, circles single operators; hollow ones hold no layer that differs. A ring means that a layer
inside stands out. A node's customdata begins with its operators' first and last order and its worst layer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from qviz.analysis.error_graph import ErrorGraph, GraphNode
from qviz.analysis.graph_layout import BUS, Point
from qviz.plots.layer_error import OTHER, RING, plain

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
