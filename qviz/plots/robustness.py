"""The sweep as pictures: value against severity (a panel a corruption, a line a model), and the interaction.

Values are AP or agreement, x100; severity 0 is the clean image. Bands are 95% intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from qviz.analysis.robustness import Point, Robustness
from qviz.analysis.written import interval
from qviz.plots.class_loss import HEAT
from qviz.plots.points import GREY, plain, signed_points

COLUMNS = 4


def severity_curves(result: Robustness, names: Mapping[str, str], colours: Mapping[str, str]) -> go.Figure:
    """names: short ones, colours: both by the model's name."""
    columns = min(COLUMNS, max(1, len(result.corruptions)))
    rows = -(-len(result.corruptions) // columns) or 1
    titles = [_told(name) for name in result.corruptions]
    figure = make_subplots(
        rows, columns, shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.02,
        vertical_spacing=min(0.5, 52 / (190 * rows)),
    )  # fmt: skip
    for number, corruption in enumerate(result.corruptions):
        for model in result.models:
            curve = result.curve(model, corruption)
            place = {"row": number // columns + 1, "col": number % columns + 1}
            figure.add_trace(_band(curve, colours[model], model), **place)
            figure.add_trace(_line(curve, colours[model], names[model], number == 0), **place)
        if number + columns >= len(result.corruptions):  # nothing below it
            figure.update_xaxes(title="severity", **place)
    figure.update_xaxes(tickvals=[0, *result.severities], zeroline=False, showgrid=False)
    figure.update_yaxes(rangemode="tozero", zeroline=False)
    figure.update_yaxes(title=f"{result.measure} ×100", col=1)
    figure.update_annotations(font_size=13)
    margin = {"l": 8, "r": 8, "t": 58, "b": 8}
    legend = {"orientation": "h", "y": 0.995, "yanchor": "top", "yref": "container", "x": 0}
    return figure.update_layout(height=112 + 190 * rows, margin=margin, legend=legend, hovermode="x unified")


def _told(corruption: str) -> str:
    return plain(corruption.replace("_", " "))


def _line(curve: Sequence[Point], colour: str, name: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=[point.severity for point in curve],
        y=[None if point.value is None else 100 * point.value for point in curve],
        mode="lines+markers",
        name=plain(name),
        legendgroup=name,
        showlegend=legend,
        line={"color": colour, "width": 2},
        marker={"size": 5},
        customdata=[_bracket(point) for point in curve],
        hovertemplate="%{y:.1f} %{customdata}",
    )


def _band(curve: Sequence[Point], colour: str, group: str) -> go.Scatter:
    """Down along the lower bounds, back along the upper ones."""
    known = [(point.severity, point.low, point.high) for point in curve if point.low is not None]
    back = known[::-1]
    return go.Scatter(
        x=[x for x, _, _ in known] + [x for x, _, _ in back],
        y=[100 * (low or 0) for _, low, _ in known] + [100 * (high or 0) for _, _, high in back],
        mode="lines",
        fill="toself",
        fillcolor=_faint(colour),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},.10)"


def _bracket(point: Point) -> str:
    return interval(point.low, point.high)


def interaction_heat(result: Robustness, names: Mapping[str, str]) -> go.Figure:
    """Corruptions by variants: what quantization loses beyond FP32. A star is significant; zero has no colour."""
    variants = result.models[1:]
    cells = [[result.interaction(model, name) for model in variants] for name in result.corruptions[::-1]]
    values = [[None if c is None or c.value is None else 100 * c.value for c in row] for row in cells]
    largest = max((abs(value) for row in values for value in row if value is not None), default=1.0) or 1.0
    texts = [
        ["" if c is None else signed_points(c.value) + ("*" if c.significant else "") for c in row] for row in cells
    ]
    told = [["" if c is None else interval(c.low, c.high) for c in row] for row in cells]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[plain(names[model]) for model in variants],
            y=[_told(name) for name in result.corruptions[::-1]],
            text=texts,
            customdata=told,
            texttemplate="%{text}",
            hovertemplate="%{y}, %{x}: %{text} %{customdata}<extra></extra>",
            zmin=-largest,
            zmax=largest,
            colorscale=HEAT,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": f"{result.measure} lost beyond FP32, ×100", "side": "right"}, "thickness": 12},
        )
    )
    figure.update_xaxes(side="top", showgrid=False)
    figure.update_yaxes(automargin=True, showgrid=False, ticklabelstandoff=6)
    height = max(220, 90 + 26 * len(cells))
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8}, font={"color": GREY})
