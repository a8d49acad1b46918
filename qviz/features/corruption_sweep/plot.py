"""Charts of a sweep: value by severity, the loss that quantization adds, layers out of range, and the confidence of one
object along the slider.

Values are AP or agreement, x100. Severity 0 is the image without corruption. Bands are 95% intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from qviz.chart_style import GREY, LEGEND, colours, faded, margin, plain
from qviz.features.accuracy.plot import loss_heat
from qviz.features.corruption_sweep import RobustnessReport
from qviz.features.corruption_sweep.result import Interaction, Point, Robustness
from qviz.features.corruption_sweep.saturation import LayerSaturation, Saturation
from qviz.features.corruption_sweep.text import corruption_title
from qviz.formatting import UNKNOWN, hundred, interval, shortened, signed_points
from qviz.structures import Loss

COLUMNS = 4


def figure(result: Robustness | RobustnessReport) -> go.Figure:
    """The value of every model by severity, with one panel per corruption."""
    sweep = result.sweep if isinstance(result, RobustnessReport) else result
    shades = dict(zip(sweep.models, colours(len(sweep.models)), strict=True))
    return severity_curves(sweep, {name: name for name in sweep.models}, shades)


def severity_curves(result: Robustness, names: Mapping[str, str], colours: Mapping[str, str]) -> go.Figure:
    """One panel per corruption with one line per model. `names` and `colours` are keyed by model name."""
    columns = min(COLUMNS, max(1, len(result.corruptions)))
    rows = -(-len(result.corruptions) // columns) or 1
    figure = make_subplots(
        rows,
        columns,
        shared_yaxes=True,
        subplot_titles=[_title(name) for name in result.corruptions],
        horizontal_spacing=0.02,
        vertical_spacing=min(0.5, 52 / (190 * rows)),
    )
    for number, corruption in enumerate(result.corruptions):
        for model in result.models:
            curve = result.curve(model, corruption)
            panel = {"row": number // columns + 1, "col": number % columns + 1}
            figure.add_trace(_band(curve, colours[model], model), **panel)
            figure.add_trace(_line(curve, colours[model], names[model], number == 0), **panel)
        if number + columns >= len(result.corruptions):  # the panel is the lowest of its column
            figure.update_xaxes(title="severity", **panel)
    figure.update_xaxes(tickvals=[0, *result.severities], zeroline=False, showgrid=False)
    figure.update_yaxes(rangemode="tozero", zeroline=False)
    figure.update_yaxes(title=f"{result.measure} ×100", col=1)
    figure.update_annotations(font_size=13)
    legend = {"orientation": "h", "y": 0.995, "yanchor": "top", "yref": "container", "x": 0}
    return figure.update_layout(height=112 + 190 * rows, margin=margin(top=58), legend=legend, hovermode="x unified")


def _title(corruption: str) -> str:
    return plain(corruption_title(corruption))


def _line(curve: Sequence[Point], colour: str, name: str, legend: bool) -> go.Scatter:
    return go.Scatter(
        x=[point.severity for point in curve],
        y=[hundred(point.value) for point in curve],
        mode="lines+markers",
        name=plain(name),
        legendgroup=name,
        showlegend=legend,
        line={"color": colour, "width": 2},
        marker={"size": 5},
        customdata=[interval(point.low, point.high) for point in curve],
        hovertemplate="%{y:.1f} %{customdata}",
    )


def _band(curve: Sequence[Point], colour: str, group: str) -> go.Scatter:
    """The area of the intervals, as an outline along the lower bounds and back along the upper ones."""
    bounds = [(point.severity, point.low, point.high) for point in curve if point.low is not None]
    back = bounds[::-1]
    return go.Scatter(
        x=[x for x, _, _ in bounds] + [x for x, _, _ in back],
        y=[100 * (low or 0) for _, low, _ in bounds] + [100 * (high or 0) for _, _, high in back],
        mode="lines",
        fill="toself",
        fillcolor=faded(colour, 0.1),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )


def interaction_heat(result: Robustness, names: Mapping[str, str]) -> go.Figure:
    """A heat map by corruption and variant: how much more the variant loses than the reference, in points (x100).

    A star marks a significant value. A cell without a meaningful value, because a model has nothing left to lose, is
    marked `(floor)` and has no colour.
    """
    variants = result.models[1:]
    cells = [[result.interaction(model, name) for model in variants] for name in result.corruptions[::-1]]
    losses = [[Loss(None) if c is None else _coloured(c) for c in row] for row in cells]
    figure = loss_heat(
        [plain(names[model]) for model in variants],
        [_title(name) for name in result.corruptions[::-1]],
        losses,
        [[_cell_text(cell) for cell in row] for row in cells],
        [["" if cell is None else interval(cell.low, cell.high) for cell in row] for row in cells],
        f"{result.measure} lost beyond FP32, ×100",
    )
    figure.update_traces(hovertemplate="%{y}, %{x}: %{text} %{customdata}<extra></extra>", selector={"type": "heatmap"})
    return figure.update_layout(height=max(220, 90 + 26 * len(cells)))


def _coloured(cell: Interaction) -> Loss:
    """The loss that the cell's colour shows; no loss if the interaction is at the floor."""
    return Loss(0.0 if cell.floor else cell.value, cell.low, cell.high, cell.significant)


def _cell_text(cell: Interaction | None) -> str:
    """The text of a cell: `+29.0*`, `≥ +29.0*` for a lower bound, or `-6.4 (floor)` for a value without meaning."""
    if cell is None:
        return UNKNOWN
    text = signed_points(cell.value)
    if cell.floor:
        return f"{text} (floor)"
    return ("≥ " if cell.at_least else "") + text + ("*" if cell.significant else "")


SCALE = [[0, "rgba(213,94,0,.04)"], [0.35, "rgba(213,94,0,.45)"], [1, "#a83c00"]]
"""Colours by clipped share; almost transparent for a share of 0."""


def saturation_heat(saturation: Saturation) -> go.Figure:
    """A heat map of the clipped share by layer (left to right) and severity, with the clean images at the bottom.

    The colour shows the square root of the share, so that a share of 0.1 % is visible. `saturation` must be limited to
    one corruption, see `Saturation.under`.
    """
    rows = range(len(saturation.corruptions))
    shares = [[layer.shares[row] for layer in saturation.layers] for row in rows]
    figure = go.Figure(
        go.Heatmap(
            z=[[share**0.5 for share in row] for row in shares],
            x=list(range(len(saturation.layers))),
            y=["clean" if row is None else f"{row.amount:g}" for row in saturation.corruptions],
            customdata=[[_layer_texts(layer, row) for layer in saturation.layers] for row in rows],
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
    ticks = list(range(0, len(saturation.layers), max(1, len(saturation.layers) // 12)))
    indices = [str(saturation.layers[i].op_index) for i in ticks]
    title = "operator of the variant, in the file's order"
    figure.update_xaxes(tickvals=ticks, ticktext=indices, showgrid=False, zeroline=False, title=title)
    figure.update_yaxes(title="severity", type="category", showgrid=False)
    height = 110 + 34 * len(saturation.corruptions)
    return figure.update_layout(height=height, margin=margin())


def _layer_texts(layer: LayerSaturation, row: int) -> tuple[int, str, str, str]:
    """A layer's texts for the tooltip: operator, type, tensor, clipped share. `row` is the index of the corruption."""
    return layer.op_index, plain(layer.op_type), plain(shortened(layer.tensor, 70)), f"{layer.shares[row]:.2%}"


Curve = tuple[str, str, Sequence[tuple[float, float]]]
"""One model: short name, colour, and (amount, confidence) of each point."""


def live_curves(
    curves: Sequence[Curve], amounts: tuple[float, float], amount: float, score: float, title: str
) -> go.Figure:
    """The confidence of one object in every model along the slider.

    `amounts` are the ends of the slider, and `score` is the confidence threshold in view.
    """
    figure = go.Figure()
    for name, colour, points in curves:
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines+markers",
            name=plain(name),
            line={"color": colour, "width": 2},
            marker={"size": 5},
            hovertemplate="%{y:.2f}",
        )
    figure.add_vline(x=amount, line={"color": GREY, "width": 1.5})
    figure.add_hline(y=score, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_xaxes(title=title, range=list(amounts), zeroline=False)
    figure.update_yaxes(title="confidence", range=[0, 1], zeroline=False)
    return figure.update_layout(
        height=300, margin=margin(top=30), legend=LEGEND, hovermode="x unified", uirevision="live"
    )
