"""Charts of all layers: SQNR along the network, and the network as a graph.

Along the network: circles on the line are cumulative SQNR, diamonds local SQNR (dB, higher is better). A layer that
stands out within its variant has a ring. One variant is coloured by operator type; several have a colour each. The
customdata of a point begins with (variant, operator index).

Graph, from top to bottom: squares are folded blocks, circles single operators, hollow where no layer differs; each is
coloured by the worst layer in it. A ring means that a layer inside stands out. The customdata of a node begins with
the first and the last of its operators and its worst layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go

from qviz.chart_style import plain, variant_colour
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.graph import BUS, ErrorGraph, GraphNode, Point
from qviz.features.layer_error.metrics import CUMULATIVE, HOVER_METRICS, LOCAL, LayerError, Metric
from qviz.features.layer_error.noise import NoiseBudget
from qviz.features.layer_error.outliers import Outliers, outliers

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
SHAPES = {CUMULATIVE: "circle", LOCAL: "diamond"}


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One variant in the chart.

    Attributes:
        positions: Operator -> position on the axis; empty: its index in the variant's file.
    """

    name: str
    errors: LayerErrors
    outliers: Outliers
    colour: str
    positions: Mapping[int, float] = field(default_factory=dict)

    def position(self, order: int) -> float:
        return self.positions.get(order, order)


def figure(result: LayerErrors | NoiseBudget) -> go.Figure:
    """The layers of one variant along its network; or the SQNR of other kernels along it."""
    if isinstance(result, NoiseBudget):
        return noise_chart(result)
    return layer_error_chart([Row(result.variant, result, outliers(result.layers), variant_colour(0))])


def noise_chart(result: NoiseBudget) -> go.Figure:
    """Cumulative SQNR of each set of kernels against the default ones; equal tensors have no point."""
    chart = go.Figure()
    for position, noise in enumerate(result.sets):
        chart.add_trace(
            go.Scatter(
                x=[layer.order for layer in noise.layers],
                y=[layer.kernel_sqnr_db for layer in noise.layers],
                customdata=[plain(layer.op_kind) for layer in noise.layers],
                mode="lines+markers",
                name=f"{noise.kernels} kernels",
                line={"color": variant_colour(position)},
                hovertemplate="operator %{x}: %{customdata}<br>%{y:.1f} dB<extra></extra>",
            )
        )
    chart.update_xaxes(title="operator, in the order of the file")
    chart.update_yaxes(title="SQNR, dB (higher is better)", rangemode="tozero")
    return chart.update_layout(height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8})


def layer_error_chart(rows: Sequence[Row], chosen: tuple[str, int] | None = None) -> go.Figure:
    """Each variant's layers along the network; chosen: (variant, order) of the layer in view."""
    figure = go.Figure()
    for row in rows:
        figure.add_traces(_by_kind(row) if len(rows) == 1 else _in_one_colour(row))
    figure.add_traces([ring for row in rows if (ring := _rings(row, 14 if len(rows) == 1 else 10)) is not None])
    for metric, symbol in SHAPES.items():
        figure.add_trace(_sample(metric.name, symbol))
    figure.add_trace(_sample("stands out", "circle-open"))
    for x in (row.position(chosen[1]) for row in rows if chosen is not None and row.name == chosen[0]):
        figure.add_vline(x=x, line={"color": OTHER, "width": 1, "dash": "dot"})
    model = "reference" if any(row.positions for row in rows) else "variant"
    figure.update_xaxes(title=f"operator, in the order of the {model}'s file", zeroline=False)
    figure.update_yaxes(title="SQNR, dB (higher is better)", rangemode="tozero", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 40, "b": 8}
    return figure.update_layout(height=400, margin=margin, legend=legend, clickmode="event+select", uirevision="layers")


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


_HOVER = "operator %{customdata[1]}: %{customdata[2]}<br>%{customdata[3]}<br>%{customdata[4]}"


def _facts(layer: LayerError) -> list[str]:
    figures = ", ".join(f"{metric.name} {metric.text(layer)}" for metric in HOVER_METRICS)
    return [plain(layer.op_kind), plain(layer.tensor[:70]), figures]


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
    """A row of the legend without points."""
    colour = RING if symbol.endswith("open") else OTHER
    marker: dict[str, Any] = {"symbol": symbol, "size": 9, "color": colour}
    return go.Scatter(x=[None], y=[None], mode="markers", name=label, marker=marker, hoverinfo="skip")


def _group(kind: str) -> str:
    """The kind whose colour it shares; empty for the rest."""
    return kind if kind in KINDS else "ADD" if kind == "ADD_N" else ""


SCALE = ((0.0, "#b2182b"), (0.35, "#ef8a62"), (0.65, "#e3c565"), (1.0, "#67a9cf"))
"""Red, yellow, blue: safe for the colour-blind, visible on light and dark."""
ROW, TOP = 30, 38
"""Pixels."""
LETTERS = 102
"""Of all labels in one row."""


def layer_graph_chart(graph: ErrorGraph, chosen: int | None = None, ink: str = OTHER) -> go.Figure:
    """The network as a graph. chosen: operator of the layer in view, whose node is framed.

    Ink: text colour of the page.
    """
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
    positions = [position for node, position in zip(graph.nodes, graph.layout.positions, strict=True) if node in nodes]
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5}}
    xs, ys = [x for x, _ in positions], [y for _, y in positions]
    unselected = {"marker": {"opacity": 1}}
    return go.Scatter(x=xs, y=ys, mode="markers", marker=marker, unselected=unselected, hoverinfo="skip")


def _nodes(graph: ErrorGraph, ink: str, differ: bool) -> go.Scatter:
    """Those that hold a layer that differs, coloured; or the others, hollow."""
    both = zip(graph.nodes, graph.layout.positions, strict=True)
    shown = [(node, position) for node, position in both if (node.worst_value is not None) == differ]
    marker: dict[str, Any] = {"symbol": [_symbol(node) for node, _ in shown], "size": 16, "color": OTHER}
    if differ:
        rows = 1 + max((row for _, row in graph.layout.positions), default=0)
        values = [node.worst_value for node, _ in shown]
        colours = {
            "color": values,
            "colorscale": SCALE,
            "reversescale": not graph.metric.higher_is_better,
            "colorbar": _scale(graph.metric, rows),
        }
        marker |= {**colours, "line": {"width": 1, "color": OTHER}}
    letters = LETTERS // max(graph.layout.lanes, 3)
    return go.Scatter(
        x=[lane for _, (lane, _) in shown],
        y=[row for _, (_, row) in shown],
        mode="markers+text",
        marker=marker,
        text=[_label(node, letters) for node, _ in shown],
        textposition="middle right",
        textfont={"size": 12, "color": ink},
        cliponaxis=False,
        unselected={"marker": {"opacity": 1}},
        customdata=[[node.orders[0], node.orders[-1], node.worst, _hover(node, graph.metric)] for node, _ in shown],
        hovertemplate="%{customdata[3]}<extra></extra>",
    )


def _scale(metric: Metric, rows: int) -> dict[str, Any]:
    """The colour scale, lying above the input."""
    heading = {"text": f"{metric.extreme} {metric.label} inside ({metric.direction} is better)", "side": "top"}
    layout = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1 + 4 / (ROW * rows), "yanchor": "bottom"}
    return {"title": heading, "thickness": 8, "len": 0.36, **layout}


def _symbol(node: GraphNode) -> str:
    shape = "square" if node.folded else "circle"
    return shape if node.worst_value is not None else f"{shape}-open"


def _label(node: GraphNode, letters: int) -> str:
    text = (node.name or node.kinds) if node.folded else f"{node.orders[0]} {node.kinds} {node.name.split('/')[-1]}"
    shown = text if len(text) <= letters else text[: letters - 1] + "…"
    value = "" if node.worst_value is None else f"  <b>{node.worst_value:.0f}</b>"
    return f"  {plain(shown)}{value}"


def _hover(node: GraphNode, metric: Metric) -> str:
    first, last = node.orders[0], node.orders[-1]
    lines = [f"operators {first} to {last}" if node.folded else f"operator {first}", plain(node.name), node.kinds]
    if node.worst_value is not None:
        lines.append(f"{metric.extreme}: {node.worst_value:.{metric.decimals}f} {metric.unit} at operator {node.worst}")
    if node.outliers:
        lines.append(f"stands out: {', '.join(map(str, node.outliers))}")
    if node.folded:
        lines.append("a click unfolds it")
    return "<br>".join(line for line in lines if line)
