"""Charts of the calibration lab: value by number of images, the cost of mistakes, and the stability of the ranges.

AP and agreement are drawn x100, changes of ranges in per cent.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz import formatting
from qviz.chart_style import GREY, REFERENCE, bracket, faded, opacity, plain, sureness, variant_colour, whiskers
from qviz.features.calibrating.result import CalibrationLab, CurvePoint, LayerChange, Stability, Tried
from qviz.features.calibrating.text import title
from qviz.structures import Loss

MAX_LAYERS = 20
NAME_LENGTH = 34


def figure(lab: CalibrationLab) -> go.Figure:
    """Value by number of calibration images."""
    return calibration_curve(lab, variant_colour(0))


def calibration_curve(lab: CalibrationLab, colour: str) -> go.Figure:
    """Mean, spread and every draw by number of images, the float32 model as a line; `colour` draws the variants."""
    figure = go.Figure()
    points = [point for point in lab.curve if point.value is not None]
    sizes = [point.images for point in points]
    figure.add_trace(_spread(points, colour))
    figure.add_trace(
        go.Scatter(
            x=sizes,
            y=[100 * (point.value or 0) for point in points],
            mode="lines",
            line={"color": colour, "width": 2},
            name="mean of the draws",
            hoverinfo="skip",
        )
    )
    figure.add_trace(_draws(lab, points, colour))
    if lab.reference is not None:
        figure.add_hline(
            y=100 * lab.reference,
            line={"color": REFERENCE, "width": 1.5, "dash": "dash"},
            annotation={"text": f"float32 {formatting.points(lab.reference)}", "font": {"color": GREY}},
            annotation_position="top left",
        )
    _log_axis(figure, "calibration images", sizes)
    figure.update_yaxes(title=f"{lab.measure} ×100 (higher is better)", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    return figure.update_layout(height=340, margin={"l": 8, "r": 8, "t": 30, "b": 8}, legend=legend)


def _log_axis(figure: go.Figure, title: str, sizes: Sequence[int]) -> None:
    labels = [str(size) for size in sizes]
    figure.update_xaxes(type="log", title=title, tickvals=sizes, ticktext=labels, zeroline=False, showgrid=False)


def _spread(points: Sequence[CurvePoint], colour: str) -> go.Scatter:
    """The area of the spread, as an outline along the worst draws and back along the best ones."""
    back = points[::-1]
    return go.Scatter(
        x=[point.images for point in (*points, *back)],
        y=[100 * (point.low or 0) for point in points] + [100 * (point.high or 0) for point in back],
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.15),
        line={"width": 0},
        name="worst to best draw",
        hoverinfo="skip",
    )


def _draws(lab: CalibrationLab, points: Sequence[CurvePoint], colour: str) -> go.Scatter:
    rows = [row for point in points for row in point.tried if lab.value(row) is not None]
    return go.Scatter(
        x=[row.images for row in rows],
        y=[100 * (lab.value(row) or 0) for row in rows],
        mode="markers",
        marker={"color": colour, "size": 7},
        name="a draw",
        customdata=[[plain(row.description), _loss(row.loss)] for row in rows],
        hovertemplate="%{customdata[0]}: %{y:.1f}<br>loss %{customdata[1]}<extra></extra>",
    )


def _loss(loss: Loss) -> str:
    return f"{formatting.signed_points(loss.value)} {bracket(loss)}, {sureness(loss)}"


def mistake_bars(lab: CalibrationLab, rows: Sequence[Tried], colour: str) -> go.Figure:
    """How much more each calibration loses than a correct one, the worst on top; a bar is faded if not significant."""
    measured = sorted((row for row in rows if row.extra.value is not None), key=lambda row: row.extra.value or 0)
    figure = go.Figure(
        go.Bar(
            x=[100 * (row.extra.value or 0) for row in measured],
            y=[title(row) for row in measured],
            orientation="h",
            marker={"color": colour, "opacity": [opacity(row.extra) for row in measured]},
            error_x=whiskers([row.extra for row in measured]),
            customdata=[
                [plain(row.description), _loss(row.extra), formatting.points(lab.value(row))] for row in measured
            ],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]}<br>value %{customdata[2]}<extra></extra>",
        )
    )
    figure.update_xaxes(title=f"lost beyond a correct calibration, {lab.measure} ×100 (higher is worse)")
    figure.update_xaxes(zeroline=True, zerolinecolor=GREY, zerolinewidth=1)
    figure.update_yaxes(automargin=True, ticklabelstandoff=6)
    height = 70 + 26 * max(len(measured), 3)
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0.35)


def stability_curve(stability: Stability, colour: str) -> go.Figure:
    """Change of the ranges between two disjoint subsets, by size of the subsets."""
    figure = go.Figure()
    sizes = [row.images for row in stability.sizes]
    lines = (
        ("layer with the largest change", "dot", [row.worst for row in stability.sizes]),
        ("median layer", "solid", [row.median for row in stability.sizes]),
    )
    for name, dash, changes in lines:
        figure.add_trace(
            go.Scatter(
                x=sizes,
                y=[100 * change for change in changes],
                mode="lines+markers",
                name=name,
                line={"color": colour, "width": 2, "dash": dash},
                marker={"size": 6},
                customdata=[f"{row.changed} of {stability.layers}" for row in stability.sizes],
                hovertemplate="%{y:.1f}%<br>layers above the limit: %{customdata}",
            )
        )
    figure.add_hline(
        y=100 * stability.limit,
        line={"color": GREY, "width": 1.5, "dash": "dash"},
        annotation={"text": "above: too few images", "font": {"color": GREY}},
        annotation_position="bottom left",
    )
    _log_axis(figure, "images in each of two disjoint subsets", sizes)
    figure.update_yaxes(title="change of a layer's range, %", rangemode="tozero", zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    return figure.update_layout(height=300, margin={"l": 8, "r": 8, "t": 30, "b": 8}, legend=legend)


def layer_changes(changed: Sequence[LayerChange], colour: str) -> go.Figure:
    """The layers whose ranges change most between two halves of the images."""
    rows = list(changed[:MAX_LAYERS])[::-1]
    figure = go.Figure(
        go.Bar(
            x=[100 * row.change for row in rows],
            y=[f"{row.op_index} {row.op_type}"[:NAME_LENGTH] for row in rows],
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
