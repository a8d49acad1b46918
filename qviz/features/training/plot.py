"""The loss of a training, step by step: each step's faint, and their mean over the last `SMOOTHED`."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.chart_style import GREY

SMOOTHED = 20
TICKS = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)]


def loss_curve(losses: Sequence[float], steps: int, colour: str) -> go.Figure:
    """losses: one a step, from step 0, all above 0. steps: how many there will be."""
    figure = go.Figure()
    numbers = list(range(len(losses)))
    points = {"mode": "markers", "marker": {"size": 4, "color": GREY, "opacity": 0.45}}
    figure.add_trace(go.Scatter(x=numbers, y=list(losses), name="one step", hovertemplate="%{y:.3g}", **points))
    line = {"color": colour, "width": 2}
    means = [sum(losses[max(0, i - SMOOTHED + 1) : i + 1]) / min(i + 1, SMOOTHED) for i in numbers]
    name = f"mean of the last {SMOOTHED}"
    figure.add_trace(go.Scatter(x=numbers, y=means, mode="lines", name=name, line=line, hovertemplate="%{y:.3g}"))
    figure.update_xaxes(title="step", range=[0, max(steps, 1)], zeroline=False)
    figure.update_yaxes(title="loss against FP32 (lower is better)", type="log", zeroline=False)
    figure.update_yaxes(tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 30, "b": 8}
    return figure.update_layout(height=310, margin=margin, legend=legend, hovermode="x unified", uirevision="training")
