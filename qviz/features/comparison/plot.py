"""A chart of the confidence in a variant against that in the reference, with one marker per object."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.chart_style import CHANGES, LEGEND, margin, plain
from qviz.errors import SettingsError
from qviz.features.comparison import ComparedObject, Comparison
from qviz.features.comparison.matching import worst_first

SYMBOLS = {"kept": "circle", "shifted": "diamond", "relabelled": "square", "lost": "x", "spurious": "triangle-up"}


def figure(result: Comparison, variant: str | None = None) -> go.Figure:
    """The chart of one variant. variant: its name; by default the variant with the lowest agreement."""
    rows = [row for row in result.variants if variant in (None, row.name)]
    if not rows:
        raise SettingsError(f"There is no variant {variant!r} in this comparison.")
    worst = min(rows, key=lambda row: worst_first(row.summary.agreement))
    objects = [row for image in worst.images for row in image.objects]
    return confidence_scatter(objects, result.reference, worst.name)


def confidence_scatter(
    objects: Sequence[ComparedObject], reference: str, variant: str, score: float | None = None
) -> go.Figure:
    """A scatter chart of confidences.

    Objects on the diagonal keep their confidence; an object that only one model detects lies on that model's axis.

    Args:
        reference, variant: Names of the models, for the axes.
        score: Confidence threshold, which is drawn as two lines.
    """
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "dash": "dot", "color": "#8a9299"})
    for name, symbol in SYMBOLS.items():
        rows = [(i, row) for i, row in enumerate(objects) if row.change == name]
        if rows:
            figure.add_trace(_markers(name, symbol, rows))
    axis = {"range": [-0.03, 1.03], "dtick": 0.25, "constrain": "domain"}
    figure.update_xaxes(title=f"confidence, {plain(reference)}", **axis)
    figure.update_yaxes(title=f"confidence, {plain(variant)}", scaleanchor="x", **axis)
    if score is not None:
        for add in (figure.add_vline, figure.add_hline):
            add(score, line={"width": 1, "color": "#c3c8cc", "dash": "dash"})
    return figure.update_layout(height=380, margin=margin(top=32), legend=LEGEND)


def _markers(name: str, symbol: str, rows: Sequence[tuple[int, ComparedObject]]) -> go.Scatter:
    return go.Scatter(
        x=[row.reference_score or 0 for _, row in rows],
        y=[row.variant_score or 0 for _, row in rows],
        customdata=[[i, _label(row)] for i, row in rows],
        name=name,
        mode="markers",
        marker={"symbol": symbol, "size": 10, "color": CHANGES[name], "line": {"width": 1, "color": "white"}},
        hovertemplate="%{customdata[1]}<br>%{x:.2f} → %{y:.2f}<extra>" + name + "</extra>",
    )


def _label(row: ComparedObject) -> str:
    return plain(row.label if row.change != "relabelled" else f"{row.label} → {row.variant_label}")
