"""A chart of the training loss: a faint line for each step, and the moving average over the last steps."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import GREY, variant_colour
from qviz.features.training import QatResult

SMOOTHED = 20
"""Number of steps in the moving average."""
TICKS = [digit * 10.0**power for power in range(-4, 4) for digit in (1, 2, 5)]


def figure(result: QatResult, colour: str = variant_colour(0)) -> go.Figure:
    """The loss of each step on a logarithmic axis. During the training, the x axis has room for the remaining steps."""
    chart = go.Figure()
    losses = result.losses
    steps = result.steps if result.built is None else len(losses)
    numbers = list(range(len(losses)))
    points = {"mode": "markers", "marker": {"size": 4, "color": GREY, "opacity": 0.45}}
    chart.add_trace(go.Scatter(x=numbers, y=list(losses), name="one step", hovertemplate="%{y:.3g}", **points))
    line = {"color": colour, "width": 2}
    means = [sum(losses[max(0, i - SMOOTHED + 1) : i + 1]) / min(i + 1, SMOOTHED) for i in numbers]
    name = f"mean of the last {SMOOTHED}"
    chart.add_trace(go.Scatter(x=numbers, y=means, mode="lines", name=name, line=line, hovertemplate="%{y:.3g}"))
    chart.update_xaxes(title="step", range=[0, max(steps, 1)], zeroline=False)
    chart.update_yaxes(title="loss against FP32 (lower is better)", type="log", zeroline=False)
    chart.update_yaxes(tickvals=TICKS, ticktext=[f"{tick:g}" for tick in TICKS])
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 30, "b": 8}
    return chart.update_layout(height=310, margin=margin, legend=legend, hovermode="x unified", uirevision="training")
