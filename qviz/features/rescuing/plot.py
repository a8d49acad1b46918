"""The candidates of a rescue: size or latency against loss, with the budget and the Pareto front.

A loss of AP is drawn in points (x100); 1 - agreement is drawn as it is. Lower and further left is better. Candidates
within the budget have filled markers.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz import formatting
from qviz.chart_style import GREY, REFERENCE, VARIANTS, faded, plain
from qviz.features.rescuing.result import AP, LATENCY, Rescue, Tried

WITHIN = VARIANTS[0]
MAX_NAME = 70
"""Maximum number of characters of a candidate's name in a hover text."""
TITLES = {LATENCY: "latency relative to the reference (lower is better)", "size": "size, MB (lower is better)"}


def figure(result: Rescue) -> go.Figure:
    """Every candidate that could be measured, the reference, and a ring around the best candidate."""
    rows = [row for row in result.tried if row.search_loss is not None and _x(row, result) is not None]
    chart = go.Figure()
    limit = _y(result.budget.limit, result)
    chart.add_hrect(y0=-1e3, y1=limit, fillcolor=faded(WITHIN, 0.08), line_width=0, layer="below")
    chart.add_hline(
        y=limit,
        line={"color": WITHIN, "width": 1, "dash": "dash"},
        annotation={"text": "budget", "font": {"color": GREY, "size": 11}},
        annotation_position="top left",
    )
    chart.add_trace(_front(rows, result))
    chart.add_trace(_points([row for row in rows if not row.within], result, "over the budget", "circle-open", GREY))
    chart.add_trace(_points([row for row in rows if row.within], result, "within the budget", "circle", WITHIN))
    chart.add_trace(_reference(result))
    if result.best is not None and result.best in rows:
        chart.add_trace(_ring(result.best, result))
    chart.update_xaxes(title=TITLES[result.prefer], rangemode="tozero", zeroline=False)
    losses = [_y(row.search_loss or 0.0, result) for row in rows]
    high, low = max([*losses, 3 * limit], default=1.0), min([*losses, 0.0])
    chart.update_yaxes(title=_title(result), range=[low - 0.1 * (high - low), high * 1.12], zeroline=False)
    return chart.update_layout(
        height=360,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )


def _title(result: Rescue) -> str:
    return f"{'loss of AP ×100' if result.budget.measure == AP else '1 − agreement'} (lower is better)"


def _x(row: Tried, result: Rescue) -> float | None:
    if result.prefer == LATENCY:
        return None if not row.speed else 1 / row.speed
    return row.bytes / 1e6


def _y(loss: float, result: Rescue) -> float:
    return 100 * loss if result.budget.measure == AP else loss


def _points(rows: Sequence[Tried], result: Rescue, name: str, symbol: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[_x(row, result) for row in rows],
        y=[_y(row.search_loss or 0.0, result) for row in rows],
        mode="markers",
        name=name,
        marker={"size": 9, "symbol": symbol, "color": colour, "line": {"width": 1.5, "color": colour}},
        customdata=[_hover(row) for row in rows],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}, loss %{y:.3g}%{customdata[2]}<extra></extra>",
    )


def _hover(row: Tried) -> list[str]:
    """The lines of a candidate's tooltip: name, size, agreement."""
    name = row.candidate.name
    short = name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
    agreement = "" if row.agreement is None else f", agreement {row.agreement:.2f}"
    return [plain(short), formatting.megabytes(row.bytes), agreement]


def _front(rows: Sequence[Tried], result: Rescue) -> go.Scatter:
    """A stepped line along the Pareto front: no smaller (or faster) candidate has a loss as low as theirs."""
    points = sorted((_x(row, result) or 0.0, _y(row.search_loss or 0.0, result)) for row in rows)
    front: list[tuple[float, float]] = []
    for x, y in points:
        if not front or y < front[-1][1]:
            front.append((x, y))
    return go.Scatter(
        x=[x for x, _ in front],
        y=[y for _, y in front],
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dot", "shape": "hv"},
        name="Pareto front",
        hoverinfo="skip",
    )


def _reference(result: Rescue) -> go.Scatter:
    x = 1.0 if result.prefer == LATENCY else result.reference.bytes / 1e6
    return go.Scatter(
        x=[x],
        y=[0.0],
        mode="markers",
        name="reference",
        marker={"size": 10, "symbol": "diamond", "color": REFERENCE},
        hovertemplate=f"{plain(result.reference.name)}<extra></extra>",
    )


def _ring(best: Tried, result: Rescue) -> go.Scatter:
    colour = WITHIN if best.within else GREY
    return go.Scatter(
        x=[_x(best, result)],
        y=[_y(best.search_loss or 0.0, result)],
        mode="markers+text",
        name="best so far" if result.chosen is None else "chosen",
        text=[f"  {plain(best.candidate.recipe)}"],
        textposition="middle right",
        marker={"size": 19, "symbol": "circle-open", "color": colour, "line": {"width": 2.5, "color": colour}},
        hoverinfo="skip",
    )
