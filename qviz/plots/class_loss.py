"""Loss of AP, reference minus variant: of each variant, by class, and class by class of all variants.

In points (x100); to the right, and vermilion, is worse. What may be noise is faded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from qviz.analysis.ap_figures import ClassLoss, VariantLoss
from qviz.plots.points import FADED, FULL, GREY, bracket, faded, opacity, plain, signed_points, sureness, whiskers
from qviz.structures import Loss

MIN_SHOWN = 5e-4
"""Classes that lose or gain less AP than this are left to the table."""
HEAT = [[0, "rgba(31,163,155,.8)"], [0.5, "rgba(138,146,153,.08)"], [1, "rgba(224,104,20,.8)"]]
"""Gain, nothing, loss: the page shows through where nothing changed."""


def shown_classes(losses: Sequence[VariantLoss], most: int = 40) -> list[str]:
    """Classes that any variant loses or gains, the largest loss of any first."""
    worst: dict[str, float] = {}
    for loss in losses:
        for row in loss.per_class:
            if row.loss.value is not None and abs(row.loss.value) >= MIN_SHOWN:
                worst[row.label] = max(row.loss.value, worst.get(row.label, row.loss.value))
    return sorted(worst, key=lambda label: (-worst[label], label))[:most]


def class_loss_bars(loss: VariantLoss, colour: str, most: int = 40, chosen: str | None = None) -> go.Figure:
    """A bar a class with its interval, the worst on top; how many objects each has stands behind its name."""
    known = {row.label: row for row in loss.per_class}
    rows = sorted((known[label] for label in shown_classes([loss], most)), key=lambda row: row.loss.value or 0.0)
    losses = [row.loss for row in rows]
    figure = go.Figure(
        go.Bar(
            x=[100 * (row.value or 0) for row in losses],
            y=[_tick(row, chosen) for row in rows],
            orientation="h",
            marker={"color": [faded(colour, opacity(row)) for row in losses]},
            unselected={"marker": {"opacity": 1}},  # a click chooses a class and hides nothing
            customdata=[[row.label, plain(row.label), *_told(row)] for row in rows],
            hovertemplate="%{customdata[1]}: %{customdata[2]} points %{customdata[3]}<br>%{customdata[4]}"
            "<br>%{customdata[5]} objects on %{customdata[6]} images<extra></extra>",
        )
    )
    figure.add_trace(_intervals(rows, chosen))
    figure.update_xaxes(title="AP points lost (×100; right is worse)", zeroline=True, zerolinecolor=GREY)
    figure.update_yaxes(automargin=True, ticklabelstandoff=6, range=[-0.7, len(rows) - 0.3])
    return figure.update_layout(
        height=max(170, 70 + 22 * len(rows)), margin={"l": 8, "r": 16, "t": 8, "b": 8}, bargap=0.3, showlegend=False
    )


def _intervals(rows: Sequence[ClassLoss], chosen: str | None) -> go.Scatter:
    """Whiskers alone, of those that have an interval: a bar without one would get a whisker of no length."""
    known = [row for row in rows if row.loss.low is not None]
    return go.Scatter(
        x=[100 * (row.loss.value or 0) for row in known],
        y=[_tick(row, chosen) for row in known],
        mode="markers",
        marker={"size": 1, "color": GREY},
        error_x=whiskers([row.loss for row in known]),
        hoverinfo="skip",
    )


def _tick(row: ClassLoss, chosen: str | None) -> str:
    text = f"{plain(row.label)} · {row.truths}"
    return f"<b>{text}</b>" if row.label == chosen else text


def _told(row: ClassLoss) -> tuple[str, str, str, int, int]:
    return signed_points(row.loss.value), bracket(row.loss), sureness(row.loss), row.truths, row.images


def variant_losses(losses: Mapping[str, Loss], colours: Sequence[str]) -> go.Figure:
    """A dot a variant with its interval, in the order of loading from the top."""
    figure = go.Figure()
    for (name, loss), colour in zip(losses.items(), colours, strict=True):
        figure.add_trace(
            go.Scatter(
                x=[100 * loss.value if loss.value is not None else None],
                y=[plain(name)],
                mode="markers",
                marker={"color": colour, "size": 11, "opacity": FULL if loss.significant else FADED + 0.25},
                error_x=whiskers([loss]) | {"color": colour, "thickness": 2, "width": 5},
                hovertemplate=f"%{{y}}: {signed_points(loss.value)} points {bracket(loss)}<br>{sureness(loss)}"
                "<extra></extra>",
            )
        )
    figure.add_vline(x=0, line={"width": 1, "color": GREY})
    figure.update_xaxes(title="AP points lost (right is worse)")
    figure.update_yaxes(autorange="reversed", automargin=True, ticklabelstandoff=6, showgrid=False)
    return figure.update_layout(
        height=86 + 34 * max(len(losses), 1), margin={"l": 8, "r": 16, "t": 8, "b": 8}, showlegend=False
    )


def class_heat(losses: Mapping[str, VariantLoss], ink: str, most: int = 40) -> go.Figure:
    """Classes by variants; a star marks what is significant. Zero has no colour. ink: the page's colour of text."""
    labels = shown_classes(list(losses.values()), most)[::-1]
    known = [{row.label: row.loss for row in loss.per_class} for loss in losses.values()]
    cells = [[column.get(label, Loss(None)) for column in known] for label in labels]
    values = [[100 * cell.value if cell.value is not None else None for cell in row] for row in cells]
    largest = max((abs(value) for row in values for value in row if value is not None), default=1.0)
    texts = [[signed_points(cell.value) + ("*" if cell.significant else "") for cell in row] for row in cells]
    x, y = [plain(name) for name in losses], [plain(label) for label in labels]
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=x,
            y=y,
            text=texts,
            customdata=[[f"{bracket(cell)} {sureness(cell)}" for cell in row] for row in cells],
            hovertemplate="%{y}, %{x}: %{text} points %{customdata}<extra></extra>",
            zmin=-largest,
            zmax=largest,
            colorscale=HEAT,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": "AP points lost", "side": "right"}, "thickness": 12},
        )
    )
    figure.add_trace(_cell_texts(x, y, texts, ink))
    figure.update_xaxes(side="top", showgrid=False)
    figure.update_yaxes(automargin=True, showgrid=False, ticklabelstandoff=6)
    return figure.update_layout(height=max(180, 70 + 22 * len(labels)), margin={"l": 8, "r": 8, "t": 8, "b": 8})


def _cell_texts(x: Sequence[str], y: Sequence[str], texts: Sequence[Sequence[str]], ink: str) -> go.Scatter:
    """In the page's own colour: a heat map chooses its texts' colour as if it lay on white."""
    places = [
        (column, row, text) for row, line in zip(y, texts, strict=True) for column, text in zip(x, line, strict=True)
    ]
    return go.Scatter(
        x=[column for column, _, _ in places],
        y=[row for _, row, _ in places],
        text=[text for _, _, text in places],
        mode="text",
        textfont={"color": ink},
        hoverinfo="skip",
        showlegend=False,
    )
