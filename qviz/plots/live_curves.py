"""One object's confidence in every model along a slider, and where the slider stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from qviz.plots.points import GREY, plain


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
