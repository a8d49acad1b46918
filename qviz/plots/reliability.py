"""Whether a confidence means what it says: the share of detections that is right over their confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from qviz.analysis.thresholds import Reliability
from qviz.plots.points import GREY, plain


def reliability_curves(found: Mapping[str, Reliability], colours: Sequence[str]) -> go.Figure:
    """A line a model, the reference first and thicker; on the diagonal a confidence is a probability."""
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "dash": "dot", "color": GREY})
    for i, ((name, curve), colour) in enumerate(zip(found.items(), colours, strict=True)):
        ece = "–" if curve.ece is None else f"{curve.ece:.3f}"
        figure.add_trace(
            go.Scatter(
                x=[row.confidence for row in curve.bins],
                y=[row.precision for row in curve.bins],
                customdata=[row.count for row in curve.bins],
                name=f"{plain(name)} · ECE {ece}",
                mode="lines+markers",
                line={"color": colour, "width": 3 if i == 0 else 1.6},
                marker={"size": 6},
                hovertemplate="confidence %{x:.2f}: %{y:.0%} right, %{customdata:,} detections<extra>"
                + plain(name)
                + "</extra>",
            )
        )
    axis = {"range": [-0.02, 1.02], "dtick": 0.25}
    figure.update_xaxes(title="confidence", **axis)
    figure.update_yaxes(title="share that is right", **axis)
    return figure.update_layout(
        height=400, margin={"l": 8, "r": 8, "t": 56, "b": 8}, legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    )
