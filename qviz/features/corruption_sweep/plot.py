"""The sweep as pictures: value against severity (a panel a corruption, a line a model), and the interaction.

Values are AP or agreement, x100; severity 0 is the clean image. Bands are 95% intervals.

Layer x severity: the share of FP32's activations outside of the variant's ranges, under one corruption.

One object's confidence in every model along a slider, and where the slider stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from qviz.chart_style import GREY, plain
from qviz.features.accuracy.plot import HEAT
from qviz.features.corruption_sweep.result import Point, Robustness
from qviz.features.corruption_sweep.saturation import Saturation
from qviz.formatting import interval, signed_points

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


SCALE = [[0, "rgba(213,94,0,.04)"], [0.35, "rgba(213,94,0,.45)"], [1, "#a83c00"]]
"""The page shows through where nothing is clipped."""


def saturation_heat(found: Saturation) -> go.Figure:
    """found: of one corruption (`Saturation.under`). Layers from left to right, the clean image at the bottom.

    Coloured by the square root of the share, so that a thousandth can be told from nothing.
    """
    shares = [[layer.shares[at] for layer in found.layers] for at in range(len(found.shifts))]
    figure = go.Figure(
        go.Heatmap(
            z=[[share**0.5 for share in row] for row in shares],
            x=list(range(len(found.layers))),
            y=["clean" if shift is None else f"{shift.amount:g}" for shift in found.shifts],
            customdata=[
                [
                    (layer.order, plain(layer.op_kind), plain(layer.tensor[:70]), f"{layer.shares[at]:.2%}")
                    for layer in found.layers
                ]
                for at in range(len(found.shifts))
            ],
            hovertemplate="operator %{customdata[0]}: %{customdata[1]}<br>%{customdata[2]}<br>"
            "%{customdata[3]} clipped at severity %{y}<extra></extra>",
            zmin=0,
            zmax=max(0.1, max((share**0.5 for row in shares for share in row), default=0.1)),
            colorscale=SCALE,
            colorbar={
                "title": {"text": "clipped", "side": "right"},
                "thickness": 12,
                "tickvals": [0, 0.01**0.5, 0.05**0.5, 0.2**0.5, 0.5**0.5, 1],
                "ticktext": ["0", "1%", "5%", "20%", "50%", "100%"],
            },
            ygap=1,
        )
    )
    every = max(1, len(found.layers) // 12)
    ticks = list(range(0, len(found.layers), every))
    orders = [str(found.layers[i].order) for i in ticks]
    title = "operator of the variant, in the file's order"
    figure.update_xaxes(tickvals=ticks, ticktext=orders, showgrid=False, zeroline=False, title=title)
    figure.update_yaxes(title="severity", type="category", showgrid=False)
    height = 110 + 34 * len(found.shifts)
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8})


@dataclass(frozen=True, slots=True)
class Curve:
    """One model: short name, colour, (amount, confidence) of the points there are."""

    name: str
    colour: str
    points: Sequence[tuple[float, float]]


def live_curves(
    curves: Sequence[Curve], amounts: tuple[float, float], amount: float, score: float, title: str
) -> go.Figure:
    """amounts: the slider's ends; score: the threshold, below which an object is gone."""
    figure = go.Figure()
    for curve in curves:
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in curve.points],
                y=[y for _, y in curve.points],
                mode="lines+markers",
                name=plain(curve.name),
                line={"color": curve.colour, "width": 2},
                marker={"size": 5},
                hovertemplate="%{y:.2f}",
            )
        )
    figure.add_vline(x=amount, line={"color": GREY, "width": 1.5})
    figure.add_hline(y=score, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(title=title, range=list(amounts), zeroline=False)
    figure.update_yaxes(title="confidence", range=[0, 1], zeroline=False)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 30, "b": 8}
    return figure.update_layout(height=300, margin=margin, legend=legend, hovermode="x unified", uirevision="live")
