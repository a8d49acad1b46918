"""A chart of the confidences of all detected objects."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import colours, margin, plain
from qviz.features.detection import DetectionResult


def figure(result: DetectionResult) -> go.Figure:
    """A histogram of confidences for each model; the first model is treated as the reference."""
    chart = go.Figure()
    for (name, images), colour in zip(result.items(), colours(len(result)), strict=True):
        chart.add_histogram(
            x=[float(score) for rows in images.values() for score in rows.scores],
            name=plain(name),
            xbins={"start": 0.0, "end": 1.0, "size": 0.05},
            marker={"color": colour},
        )
    chart.update_xaxes(title="confidence", range=[0, 1])
    chart.update_yaxes(title="objects")
    return chart.update_layout(height=380, margin=margin(top=32))
