"""The calibration lab as pictures: the curve over the number of images, what mistakes cost, how steady ranges are.

AP and agreement are drawn x100, changes of ranges in per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.chart_style import GREY, REFERENCE, bracket, faded, opacity, plain, sureness, whiskers
from qviz.features.calibrating.result import CalibrationLab, CurvePoint, LayerChange, Stability, Tried
from qviz.features.calibrating.text import title
from qviz.formatting import points, signed_points
from qviz.structures import Loss

MOST_LAYERS = 20
NAME_LENGTH = 34


def calibration_curve(lab: CalibrationLab, colour: str) -> go.Figure:
    """Mean, spread and every draw over the number of images; the float32 model as a line. colour: the variants'."""
    figure = go.Figure()
    known = [point for point in lab.curve if point.value is not None]
    sizes = [point.images for point in known]
    figure.add_trace(_spread(known, colour))
    figure.add_trace(
        go.Scatter(
            x=sizes,
            y=[100 * (point.value or 0) for point in known],
            mode="lines",
            line={"color": colour, "width": 2},
            name="mean of the draws",
            hoverinfo="skip",
        )
    )
    figure.add_trace(_draws(lab, known, colour))
    if lab.reference is not None:
        figure.add_hline(
            y=100 * lab.reference,
            line={"color": REFERENCE, "width": 1.5, "dash": "dash"},
            annotation={"text": f"float32 {points(lab.reference)}", "font": {"color": GREY}},
            annotation_position="top left",
        )
    figure.update_xaxes(
        type="log", title="calibration images", tickvals=sizes, ticktext=[str(size) for size in sizes], zeroline=False,
        showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title=f"{lab.measure} ×100 (higher is better)", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    return figure.update_layout(height=340, margin={"l": 8, "r": 8, "t": 30, "b": 8}, legend=legend)


def _spread(known: Sequence[CurvePoint], colour: str) -> go.Scatter:
    """Up along the worst draws, back along the best."""
    back = known[::-1]
    return go.Scatter(
        x=[point.images for point in (*known, *back)],
        y=[100 * (point.low or 0) for point in known] + [100 * (point.high or 0) for point in back],
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.15),
        line={"width": 0},
        name="worst to best draw",
        hoverinfo="skip",
    )


def _draws(lab: CalibrationLab, known: Sequence[CurvePoint], colour: str) -> go.Scatter:
    rows = [row for point in known for row in point.tried if lab.value(row) is not None]
    return go.Scatter(
        x=[row.images for row in rows],
        y=[100 * (lab.value(row) or 0) for row in rows],
        mode="markers",
        marker={"color": colour, "size": 7},
        name="a draw",
        customdata=[[plain(row.told), _loss(row.loss)] for row in rows],
        hovertemplate="%{customdata[0]}: %{y:.1f}<br>loss %{customdata[1]}<extra></extra>",
    )


def _loss(loss: Loss) -> str:
    return f"{signed_points(loss.value)} {bracket(loss)}, {sureness(loss)}"


def mistake_bars(lab: CalibrationLab, rows: Sequence[Tried], colour: str) -> go.Figure:
    """What each calibration loses beyond a matching one, the worst on top; faded where that may be chance."""
    known = sorted((row for row in rows if row.extra.value is not None), key=lambda row: row.extra.value or 0)
    figure = go.Figure(
        go.Bar(
            x=[100 * (row.extra.value or 0) for row in known],
            y=[title(row) for row in known],
            orientation="h",
            marker={"color": colour, "opacity": [opacity(row.extra) for row in known]},
            error_x=whiskers([row.extra for row in known]),
            customdata=[[plain(row.told), _loss(row.extra), points(lab.value(row))] for row in known],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>value %{customdata[2]}<extra></extra>",
        )
    )
    figure.update_xaxes(title=f"lost beyond a matching calibration, {lab.measure} ×100 (higher is worse)")
    figure.update_xaxes(zeroline=True, zerolinecolor=GREY, zerolinewidth=1)
    figure.update_yaxes(automargin=True, ticklabelstandoff=6)
    height = 70 + 26 * max(len(known), 3)
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0.35)


def steadiness(found: Stability, colour: str) -> go.Figure:
    """How far ranges move between two disjoint subsets, over the subsets' size."""
    figure = go.Figure()
    sizes = [row.images for row in found.sizes]
    lines = (("largest of the layers", "dot", [row.worst for row in found.sizes]),
             ("median layer", "solid", [row.median for row in found.sizes]))  # fmt: skip
    for name, dash, changes in lines:
        figure.add_trace(
            go.Scatter(
                x=sizes,
                y=[100 * change for change in changes],
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 6},
                customdata=[f"{row.changed} of {found.layers}" for row in found.sizes],
                hovertemplate="%{y:.1f}%<br>%{customdata} layers above the limit",
            )
        )
    figure.add_hline(
        y=100 * found.limit, line={"color": GREY, "width": 1.5, "dash": "dash"},
        annotation={"text": "too few images above", "font": {"color": GREY}}, annotation_position="bottom left",
    )  # fmt: skip
    figure.update_xaxes(
        type="log", title="images in each of two disjoint subsets", tickvals=sizes,
        ticktext=[str(size) for size in sizes], zeroline=False, showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title="change of a layer's range, %", rangemode="tozero", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    return figure.update_layout(height=300, margin={"l": 8, "r": 8, "t": 30, "b": 8}, legend=legend)


def layer_changes(changed: Sequence[LayerChange], colour: str) -> go.Figure:
    """The layers whose ranges change most between halves of the images."""
    rows = list(changed[:MOST_LAYERS])[::-1]
    figure = go.Figure(
        go.Bar(
            x=[100 * row.change for row in rows],
            y=[f"{row.order} {row.op_kind}"[:NAME_LENGTH] for row in rows],
            orientation="h",
            marker={"color": colour},
            customdata=[[plain(row.tensor[:120]), _ends(row.first), _ends(row.second)] for row in rows],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]} and %{customdata[2]}<extra></extra>",
        )
    )
    figure.update_xaxes(title="change of the range between two halves, %", rangemode="tozero")
    figure.update_yaxes(automargin=True, ticklabelstandoff=6, type="category")
    height = 70 + 24 * max(len(rows), 2)
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0.45)


def _ends(ends: tuple[float, float]) -> str:
    return f"[{ends[0]:.3g}, {ends[1]:.3g}]"
