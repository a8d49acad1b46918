"""Charts of an evaluation. Losses are reference minus variant, in AP points.

Losses are drawn in vermilion to the right of 0. Losses whose interval includes 0 are faded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from qviz.chart_style import (
    FADED,
    FULL,
    GREY,
    LEGEND,
    REFERENCE,
    bracket,
    faded,
    margin,
    opacity,
    plain,
    sureness,
    variant_colour,
    whiskers,
)
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import METRICS, AveragePrecision, ClassLoss, VariantLoss, evidence
from qviz.features.accuracy.dataset_health import CategoryCount, DatasetHealth
from qviz.features.accuracy.errors import ErrorCost
from qviz.features.accuracy.thresholds import Reliability, ThresholdShift
from qviz.formatting import hundred, listed, plural, points, signed_points
from qviz.structures import Loss

MIN_SHOWN = 5e-4
"""Classes that lose or gain less AP than this, in [0, 1], are not drawn; the table lists them."""
HEAT = [[0, "rgba(31,163,155,.8)"], [0.5, "rgba(138,146,153,.08)"], [1, "rgba(224,104,20,.8)"]]
"""Colours of a gain, of no change (nearly transparent), and of a loss."""


def figure(result: Evaluation | DatasetHealth, variant: str | None = None) -> go.Figure:
    """The chart of a result.

    For an Evaluation, it shows the loss of every variant or, if `variant` is a name, the loss of that variant by class;
    without variants, the model's metrics. For a DatasetHealth, it shows the number of objects and images by category.
    """
    if isinstance(result, DatasetHealth):
        return category_bars(result.categories)
    colours = [variant_colour(i) for i in range(len(result.losses))]
    losses = {loss.variant: loss for loss in result.losses}
    if not losses:
        return metric_bars(result.models[:1], [REFERENCE])
    if variant is None:
        return variant_losses({name: loss.ap for name, loss in losses.items()}, colours)
    return class_loss_bars(losses[variant], colours[list(losses).index(variant)])


def category_bars(categories: Sequence[CategoryCount]) -> go.Figure:
    """Two bars per category, for its number of objects and its number of images; the most frequent category first."""
    rows = sorted(categories, key=lambda row: -row.objects)
    names = [plain(row.name) for row in rows]
    chart = go.Figure()
    chart.add_bar(x=names, y=[row.objects for row in rows], name="objects", marker_color=REFERENCE)
    chart.add_bar(x=names, y=[row.images for row in rows], name="images", marker_color=GREY)
    return chart.update_layout(yaxis_title="number", barmode="group")


def metric_bars(models: Sequence[AveragePrecision], colours: Sequence[str]) -> go.Figure:
    """One group of bars per metric, one bar per model."""
    bars = [
        go.Bar(
            x=[metric.label for metric in METRICS],
            y=[metric.shown(model) for metric in METRICS],
            text=[metric.text(model) for metric in METRICS],
            name=plain(model.name),
            marker={"color": colour},
        )
        for model, colour in zip(models, colours, strict=True)
    ]
    return go.Figure(bars).update_yaxes(title="×100; higher is better")


MAX_CLASSES = 40


def changed_classes(losses: Sequence[VariantLoss]) -> list[str]:
    """The classes with a loss or gain in any variant, sorted by their strongest evidence: significant losses first."""
    strongest: dict[str, tuple[int, float]] = {}
    for loss in losses:
        for row in loss.per_class:
            if row.loss.value is not None and abs(row.loss.value) >= MIN_SHOWN:
                strongest[row.label] = min(evidence(row.loss), strongest.get(row.label, (0, float("inf"))))
    return sorted(strongest, key=lambda label: (strongest[label], label))


def shown_classes(losses: Sequence[VariantLoss], limit: int = MAX_CLASSES) -> list[str]:
    """The changed classes that fit into a chart, at most `limit`."""
    return changed_classes(losses)[:limit]


def left_out(losses: Sequence[VariantLoss], limit: int = MAX_CLASSES) -> str:
    """A text on the classes that a chart leaves out; empty if it shows all classes.

    A chart leaves out classes without a change, and those with the least evidence beyond `limit`.
    """
    changed, classes = changed_classes(losses), {row.label for loss in losses for row in loss.per_class}
    beyond, unchanged = changed[limit:], len(classes) - len(changed)
    parts = []
    if beyond:
        values = [row.loss.value or 0.0 for loss in losses for row in loss.per_class if row.label in beyond]
        largest = max(values)
        loses = (
            f"less evidence, losing up to {points(largest)} AP points"
            if largest >= MIN_SHOWN
            else "a loss below 0 (better)"
        )
        parts.append(f"{len(beyond)} with {loses}")
    if unchanged:
        parts.append(f"{unchanged} without a change of AP")
    return f"Not shown (of {plural(len(classes), 'class')}): {listed(parts)}." if parts else ""


def class_loss_bars(loss: VariantLoss, colour: str, limit: int = MAX_CLASSES, chosen: str | None = None) -> go.Figure:
    """One bar per class, with its interval, the strongest evidence on top. A class's name has its number of objects."""
    by_label = {row.label: row for row in loss.per_class}
    rows = [by_label[label] for label in shown_classes([loss], limit)][::-1]  # Plotly draws the first row at the bottom
    losses = [row.loss for row in rows]
    figure = go.Figure(
        go.Bar(
            x=[100 * (row.value or 0) for row in losses],
            y=[_tick(row, chosen) for row in rows],
            orientation="h",
            marker={"color": [faded(colour, opacity(row)) for row in losses]},
            unselected={"marker": {"opacity": 1}},  # a click chooses a class and hides nothing
            customdata=[[row.label, plain(row.label), *_hover(row)] for row in rows],
            hovertemplate="%{customdata[1]}: %{customdata[2]} points %{customdata[3]}<br>%{customdata[4]}"
            "<br>objects: %{customdata[5]}, images: %{customdata[6]}<extra></extra>",
        )
    )
    figure.add_trace(_intervals(rows, chosen))
    figure.update_xaxes(title="AP points lost (×100; right is worse)", zeroline=True, zerolinecolor=GREY)
    figure.update_yaxes(automargin=True, ticklabelstandoff=6, range=[-0.7, len(rows) - 0.3])
    return figure.update_layout(
        height=max(170, 70 + 22 * len(rows)), margin=margin(right=16), bargap=0.3, showlegend=False
    )


def _intervals(rows: Sequence[ClassLoss], chosen: str | None) -> go.Scatter:
    """Whiskers for the rows that have an interval; for the others Plotly would draw a whisker of length 0."""
    rows = [row for row in rows if row.loss.low is not None]
    return go.Scatter(
        x=[100 * (row.loss.value or 0) for row in rows],
        y=[_tick(row, chosen) for row in rows],
        mode="markers",
        marker={"size": 1, "color": GREY},
        error_x=whiskers([row.loss for row in rows]),
        hoverinfo="skip",
    )


def _tick(row: ClassLoss, chosen: str | None) -> str:
    text = f"{plain(row.label)} · {row.truths}"
    return f"<b>{text}</b>" if row.label == chosen else text


def _hover(row: ClassLoss) -> tuple[str, str, str, int, int]:
    return signed_points(row.loss.value), bracket(row.loss), sureness(row.loss), row.truths, row.images


def variant_losses(losses: Mapping[str, Loss], colours: Sequence[str]) -> go.Figure:
    """One dot per variant with its interval, the variant that was loaded first at the top."""
    figure = go.Figure()
    for (name, loss), colour in zip(losses.items(), colours, strict=True):
        figure.add_scatter(
            x=[hundred(loss.value)],
            y=[plain(name)],
            mode="markers",
            marker={"color": colour, "size": 11, "opacity": FULL if loss.significant else FADED + 0.25},
            error_x=whiskers([loss]) | {"color": colour, "thickness": 2, "width": 5},
            hovertemplate=f"%{{y}}: {signed_points(loss.value)} points {bracket(loss)}<br>{sureness(loss)}"
            "<extra></extra>",
        )
    figure.add_vline(x=0, line={"width": 1, "color": GREY})
    figure.update_xaxes(title="AP points lost")
    figure.update_yaxes(autorange="reversed", automargin=True, ticklabelstandoff=6, showgrid=False)
    return figure.update_layout(height=86 + 34 * max(len(losses), 1), margin=margin(right=16), showlegend=False)


def class_heat(losses: Mapping[str, VariantLoss], limit: int = MAX_CLASSES) -> go.Figure:
    """A heat map of losses by class and variant. A star marks a significant loss; a loss of 0 has no colour."""
    labels = shown_classes(list(losses.values()), limit)[::-1]
    columns = [{row.label: row.loss for row in loss.per_class} for loss in losses.values()]
    cells = [[column.get(label, Loss(None)) for column in columns] for label in labels]
    notes = [[f"{bracket(cell)} {sureness(cell)}" for cell in row] for row in cells]
    x, y = [plain(name) for name in losses], [plain(label) for label in labels]
    texts = [[signed_points(loss.value) + ("*" if loss.significant else "") for loss in row] for row in cells]
    figure = loss_heat(x, y, cells, texts, notes, "AP points lost")
    return figure.update_layout(height=max(180, 70 + 22 * len(labels)))


def loss_heat(
    x: Sequence[str],
    y: Sequence[str],
    losses: Sequence[Sequence[Loss]],
    texts: Sequence[Sequence[str]],
    notes: Sequence[Sequence[str]],
    title: str,
) -> go.Figure:
    """A heat map of losses in points, with these texts in its cells. `notes` are added to the tooltips."""
    values = [[hundred(loss.value) for loss in row] for row in losses]
    largest = max((abs(value) for row in values for value in row if value is not None), default=1.0) or 1.0
    heat = go.Heatmap(
        z=values,
        x=x,
        y=y,
        text=texts,
        customdata=notes,
        hovertemplate="%{y}, %{x}: %{text} points %{customdata}<extra></extra>",
        zmin=-largest,
        zmax=largest,
        colorscale=HEAT,
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": title, "side": "right"}, "thickness": 12},
    )
    figure = go.Figure([heat, _cell_texts(heat)]).update_xaxes(side="top", showgrid=False)
    figure.update_yaxes(automargin=True, showgrid=False, ticklabelstandoff=6)
    return figure.update_layout(margin=margin())


def _cell_texts(heat: go.Heatmap) -> go.Scatter:
    """The texts of the cells, in the text colour of the page, also after a change of its theme.

    A heat map's own texts have colours that only suit a white page.
    """
    return go.Scatter(
        x=list(heat.x) * len(heat.y),
        y=[label for label in heat.y for _ in heat.x],
        text=[text for row in heat.text for text in row],
        mode="text",
        hoverinfo="skip",
        showlegend=False,
    )


def error_bars(errors: Sequence[tuple[ErrorCost, ErrorCost]], reference: str, variant: str, colour: str) -> go.Figure:
    """Two bars per kind of error, one for each model; the tooltip shows the number of errors."""
    figure = go.Figure()
    sides = ((reference, REFERENCE, [row for row, _ in errors]), (variant, colour, [row for _, row in errors]))
    for name, shade, rows in sides:
        figure.add_bar(
            x=[row.kind for row in rows],
            y=[100 * row.cost for row in rows],
            name=plain(name),
            marker={"color": shade},
            text=[points(row.cost) for row in rows],
            textposition="outside",
            cliponaxis=False,
            customdata=[row.count for row in rows],
            hovertemplate="%{x}: dAP %{y:.1f}, errors: %{customdata:,}<extra>" + plain(name) + "</extra>",
        )
    figure.update_yaxes(title="dAP (×100; higher is worse)")
    return figure.update_layout(height=330, margin=margin(top=32), bargap=0.3, legend=LEGEND)


def precision_recall(
    curves: Mapping[str, np.ndarray], ap50: Mapping[str, float | None], colours: list[str]
) -> go.Figure:
    """One line per model, the reference first and thicker. Each curve is (101,) precision over recall from 0 to 1."""
    figure = go.Figure()
    for i, ((name, curve), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        figure.add_scatter(
            x=np.linspace(0, 1, len(curve)),
            y=curve,
            name=f"{plain(name)} · AP50 {points(ap50[name])}",
            mode="lines",
            line={"color": colour, "width": 3.5 if i == 0 else 1.8, "shape": "hv"},
            hovertemplate="precision %{y:.2f}<extra>" + plain(name) + "</extra>",
        )
    figure.update_xaxes(title="recall at an IoU of .50", range=[-0.01, 1.01], dtick=0.25)
    figure.update_yaxes(title="precision", range=[-0.02, 1.04], dtick=0.25)
    return figure.update_layout(
        height=380, margin=margin(), hovermode="x unified", legend={"x": 1.02, "y": 1, "xanchor": "left"}
    )


def reliability_curves(curves: Mapping[str, Reliability], colours: Sequence[str]) -> go.Figure:
    """One line per model, the reference first and thicker; on the diagonal, confidence equals precision."""
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "dash": "dot", "color": GREY})
    for i, ((name, curve), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        ece = "–" if curve.ece is None else f"{curve.ece:.3f}"
        figure.add_scatter(
            x=[row.confidence for row in curve.bins],
            y=[row.precision for row in curve.bins],
            customdata=[row.count for row in curve.bins],
            name=f"{plain(name)} · ECE {ece}",
            mode="lines+markers",
            line={"color": colour, "width": 3 if i == 0 else 1.6},
            marker={"size": 6},
            hovertemplate="confidence %{x:.2f}: %{y:.0%} right, detections: %{customdata:,}<extra>"
            + plain(name)
            + "</extra>",
        )
    axis = {"range": [-0.02, 1.02], "dtick": 0.25}
    figure.update_xaxes(title="confidence", **axis)
    figure.update_yaxes(title="share that is right", **axis)
    return figure.update_layout(height=400, margin=margin(top=56), legend=LEGEND)


def threshold_moves(shifts: Mapping[str, ThresholdShift], colours: Sequence[str]) -> go.Figure:
    """One row per variant: its F1 at the reference's best threshold (hollow) and at its own (filled), and FP32's F1."""
    figure = go.Figure()
    for (name, shift), colour in zip(shifts.items(), colours, strict=True):
        unmoved, moved = 100 * shift.variant_f1_unmoved, 100 * shift.variant.f1
        labels = [_at(shift.reference.score), _at(shift.variant.score)]
        figure.add_scatter(
            x=[unmoved, moved],
            y=[plain(name)] * 2,
            mode="lines+markers+text",
            line={"color": colour, "width": 2},
            marker={"color": colour, "size": 11, "symbol": ["circle-open", "circle"]},
            text=["", labels[1]],
            textposition="top center",
            customdata=labels,
            hovertemplate="%{y}: F1 %{x:.1f}, cut %{customdata}<extra></extra>",
            cliponaxis=False,
        )
    best = next(iter(shifts.values())).reference
    figure.add_vline(x=100 * best.f1, line={"width": 1.5, "dash": "dash", "color": REFERENCE})
    figure.update_xaxes(title="F1 (×100; right is better)", range=_room(shifts))
    figure.update_yaxes(autorange="reversed", automargin=True, ticklabelstandoff=6, showgrid=False)
    return figure.update_layout(height=80 + 44 * len(shifts), margin=margin(), showlegend=False)


def _at(score: float | None) -> str:
    return "nowhere" if score is None else f"at {score:.2f}"


def _room(shifts: Mapping[str, ThresholdShift]) -> list[float]:
    """The axis range that leaves room for the texts of all points."""
    values = [100 * f1 for s in shifts.values() for f1 in (s.reference.f1, s.variant.f1, s.variant_f1_unmoved)]
    low, high = min(values), max(values)
    return [low - 0.06 * (high - low) - 1, high + 0.16 * (high - low) + 2]
