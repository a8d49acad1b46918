"""The search of a rescue as a picture: size or latency against loss, the budget, and the front of what was tried.

Loss of AP is drawn x100; 1 - agreement as it is. Lower and further left is better. Filled: within the budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz import formatting
from qviz.chart_style import GREY, REFERENCE, VARIANTS, faded, plain
from qviz.features.rescuing.result import AP, LATENCY, Rescue, Tried

KEPT = VARIANTS[0]
LONGEST = 70
TITLES = {LATENCY: "latency, the reference's is 1 (lower is better)", "size": "size, MB (lower is better)"}


def rescue_scatter(found: Rescue) -> go.Figure:
    """Every candidate that could be measured, the reference, and the best one ringed."""
    rows = [row for row in found.tried if row.search_loss is not None and _x(row, found) is not None]
    figure = go.Figure()
    limit = _y(found.budget.limit, found)
    figure.add_hrect(y0=-1e3, y1=limit, fillcolor=faded(KEPT, 0.08), line_width=0, layer="below")
    figure.add_hline(
        y=limit,
        line={"color": KEPT, "width": 1, "dash": "dash"},
        annotation={"text": "budget", "font": {"color": GREY, "size": 11}},
        annotation_position="top left",
    )
    figure.add_trace(_front(rows, found))
    figure.add_trace(_points([row for row in rows if not row.within], found, "over the budget", "circle-open", GREY))
    figure.add_trace(_points([row for row in rows if row.within], found, "within the budget", "circle", KEPT))
    figure.add_trace(_reference(found))
    if found.best is not None and found.best in rows:
        figure.add_trace(_ring(found.best, found))
    figure.update_xaxes(title=TITLES[found.prefer], rangemode="tozero", zeroline=False)
    losses = [_y(row.search_loss or 0.0, found) for row in rows]
    most = max([*losses, 3 * limit], default=1.0)
    least = min([*losses, 0.0])
    figure.update_yaxes(title=_title(found), range=[least - 0.1 * (most - least), most * 1.12], zeroline=False)
    return figure.update_layout(
        height=360,
        margin={"l": 8, "r": 8, "t": 12, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )


def _title(found: Rescue) -> str:
    return f"{'loss of AP ×100' if found.budget.measure == AP else '1 − agreement'} (lower is better)"


def _x(row: Tried, found: Rescue) -> float | None:
    if found.prefer == LATENCY:
        return None if not row.speed else 1 / row.speed
    return row.bytes / 1e6


def _y(loss: float, found: Rescue) -> float:
    return 100 * loss if found.budget.measure == AP else loss


def _points(rows: Sequence[Tried], found: Rescue, name: str, symbol: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=[_x(row, found) for row in rows],
        y=[_y(row.search_loss or 0.0, found) for row in rows],
        mode="markers",
        name=name,
        marker={"size": 9, "symbol": symbol, "color": colour, "line": {"width": 1.5, "color": colour}},
        customdata=[
            [plain(_shortened(row.candidate.name)), formatting.megabytes(row.bytes), _agreed(row)] for row in rows
        ],
        hovertemplate="%{customdata[0]}<br>%{customdata[1]}, loss %{y:.3g}%{customdata[2]}<extra></extra>",
    )


def _agreed(row: Tried) -> str:
    return "" if row.agreement is None else f", agreement {row.agreement:.2f}"


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _front(rows: Sequence[Tried], found: Rescue) -> go.Scatter:
    """Steps along those that nothing smaller (or faster) matches."""
    places = sorted((_x(row, found) or 0.0, _y(row.search_loss or 0.0, found)) for row in rows)
    front: list[tuple[float, float]] = []
    for x, y in places:
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


def _reference(found: Rescue) -> go.Scatter:
    x = 1.0 if found.prefer == LATENCY else found.reference_bytes / 1e6
    return go.Scatter(
        x=[x],
        y=[0.0],
        mode="markers",
        name="reference",
        marker={"size": 10, "symbol": "diamond", "color": REFERENCE},
        hovertemplate=f"{plain(found.reference)}<extra></extra>",
    )


def _ring(best: Tried, found: Rescue) -> go.Scatter:
    colour = KEPT if best.within else GREY
    return go.Scatter(
        x=[_x(best, found)],
        y=[_y(best.search_loss or 0.0, found)],
        mode="markers+text",
        name="best so far" if found.chosen is None else "chosen",
        text=[f"  {plain(best.candidate.recipe)}"],
        textposition="middle right",
        marker={"size": 19, "symbol": "circle-open", "color": colour, "line": {"width": 2.5, "color": colour}},
        hoverinfo="skip",
    )
