"""Charts of the trade-off (quality against latency or size) and of one model's time by operator.

The area of a bubble shows the third quantity (bytes, or ms if the x axis shows the size). Dominated models are faded; a
line joins the models that no other one beats on both axes. AP is drawn x100, agreement in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt

import plotly.graph_objects as go

from qviz.chart_style import FADED, FULL, GREY, REFERENCE, faded, margin, plain
from qviz.features.cost import ModelProfile, Profile
from qviz.features.cost.tradeoff import Point, Tradeoff
from qviz.formatting import megabytes, milliseconds, plural

LARGEST, SMALLEST = 46.0, 10.0
"""Diameters of the largest and the smallest bubble in pixels."""
RIM = "#ffffff"
UNMEASURED = 18.0
"""Diameter in pixels of all bubbles as long as latency is not measured."""
TITLES = {"latency": "latency p50, ms (lower is better)", "size": "size, MB (lower is better)"}
ON_NPU = "ms on {}, estimated (lower is better)"


def figure(profile: Profile, model: str | None = None) -> go.Figure:
    """Time per operator of the named model, or of the first one."""
    row = next((row for row in profile.models if row.name == model), profile.models[0])
    return operator_times(row, REFERENCE)


def tradeoff_scatter(tradeoff: Tradeoff, colours: Mapping[str, str], x: str = "latency") -> go.Figure:
    """Quality over latency or size, depending on `x`. Points with unknown quality are left out.

    If latency is not measured, all bubbles have the same size. `colours` maps the name of a point to its colour.
    """
    figure = go.Figure()
    front = _rising([(_x(point, x), _y(point)) for point in tradeoff.front])
    figure.add_scatter(
        x=[x_value for x_value, _ in front],
        y=[y_value for _, y_value in front],
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dot"},
        name="Pareto front",
        hoverinfo="skip",
    )
    rated = [point for point in tradeoff.points if point.quality is not None]
    largest = max((_area(point, x) for point in rated), default=1.0)
    for point in sorted(rated, key=lambda point: -_area(point, x)):  # small bubbles last, so that they are on top
        figure.add_trace(_bubble(tradeoff, point, colours[point.name], x, largest, _side(point, rated, x)))
    accelerator = next((point.accelerator for point in rated if x == "latency"), "")
    title = ON_NPU.format(plain(accelerator)) if accelerator else TITLES[x]
    figure.update_xaxes(title=title, rangemode="tozero", zeroline=False)
    kind = tradeoff.quality_kind
    highest = max((_y(point) for point in rated), default=1.0) or 1.0
    step = 10 if highest > 25 else 5
    figure.update_yaxes(
        title=f"{kind} ×100 (higher is better)" if kind == "AP" else f"{kind} (higher is better)",
        range=[-0.15 * highest, 1.25 * highest],  # room for the bubbles and their names
        tickvals=list(range(0, int(highest) + 1, step)) if kind == "AP" else [0, 0.25, 0.5, 0.75, 1],
        zeroline=False,
    )
    return figure.update_layout(height=380, margin=margin(top=12), showlegend=False)


NEAR = 0.2
"""Share of an axis within which the names of two points could overlap."""


def _side(point: Point, points: Sequence[Point], x: str) -> str:
    """Where the name of a point is written: below the point if a neighbour lies above it, else above the point."""
    width = max((_x(other, x) for other in points), default=1.0) or 1.0
    height = max((_y(other) for other in points), default=1.0) or 1.0
    for other in points:
        across, up = abs(_x(other, x) - _x(point, x)) / width, (_y(other) - _y(point)) / height
        if other is not point and across < NEAR and 0 <= up < NEAR and (up, other.name) > (0, point.name):
            return "bottom"
    return "top"


def _bubble(tradeoff: Tradeoff, point: Point, colour: str, x: str, largest: float, side: str) -> go.Scatter:
    others = tradeoff.dominated_by(point.name)
    alpha = FADED if others else FULL
    status = f"dominated by {', '.join(others)}" if others else "on the Pareto front"
    return go.Scatter(
        x=[_x(point, x)],
        y=[_y(point)],
        mode="markers+text",
        name=plain(point.name),
        text=[plain(point.name)],
        textposition=f"{side} center",
        textfont={"color": GREY if others else None},
        cliponaxis=False,
        marker={
            "size": max(SMALLEST, LARGEST * sqrt(_area(point, x) / largest)) if largest else UNMEASURED,
            "color": faded(colour, alpha),
            # a faded bubble has a rim in its own colour; the others have a white one to stand out from those below
            "line": {"width": 1, "color": faded(colour, FULL)} if others else {"width": 2, "color": RIM},
        },
        customdata=[[megabytes(point.bytes), latency_text(point), plain(status)]],
        hovertemplate="%{text}: %{y}<br>%{customdata[0]}, %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
    )


def latency_text(point: Point) -> str:
    """The latency, e.g. `24.0 ms`, and what it does not count; or a text saying that it is not measured."""
    if point.latency_ms is None:
        return "latency not measured"
    left = f", {plural(point.cpu_operators, 'operator')} on the CPU not counted" if point.cpu_operators else ""
    return f"{milliseconds(point.latency_ms)}{f' on {plain(point.accelerator)}' if point.accelerator else ''}{left}"


def _rising(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that are higher than all points to their left, from left to right."""
    rising: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not rising or point[1] > rising[-1][1]:
            rising.append(point)
    return rising


def _x(point: Point, x: str) -> float:
    return (point.latency_ms or 0.0) if x == "latency" else point.bytes / 1e6


def _y(point: Point) -> float:
    quality = point.quality or 0.0
    return round(100 * quality, 1) if point.quality_kind == "AP" else round(quality, 3)


def _area(point: Point, x: str) -> float:
    return point.bytes / 1e6 if x == "latency" else point.latency_ms or 0.0


def operator_times(profile: ModelProfile, colour: str) -> go.Figure:
    """Time by kind of operator, the slowest on top. `CONV_2D · 55` means 55 steps of that kind."""
    kinds = profile.by_kind[::-1]
    total = sum(kind.ms for kind in kinds) or 1.0
    figure = go.Figure(
        go.Bar(
            x=[kind.ms for kind in kinds],
            y=[f"{plain(kind.op_kind[:60])} · {kind.steps}" for kind in kinds],
            orientation="h",
            marker={"color": colour},
            text=[f"{milliseconds(kind.ms)}, {kind.ms / total:.0%}" for kind in kinds],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    largest = max((kind.ms for kind in kinds), default=1.0)
    figure.update_xaxes(title="ms", range=[0, 1.25 * largest], zeroline=False)
    figure.update_yaxes(automargin=True, showgrid=False, ticklabelstandoff=6)
    return figure.update_layout(height=max(160, 70 + 24 * len(kinds)), margin=margin())
