"""A chart of the reliability of the risk: share of objects that were lost (or relabelled) over their mean risk."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import CHANGES, GREY, LEGEND, margin
from qviz.features.object_risk import Risks

HEIGHT = 320


def figure(result: Risks) -> go.Figure:
    """One line per shown risk, with one point per decile. A point on the diagonal means that the risk is right."""
    chart = go.Figure()
    chart.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "dash": "dot", "color": GREY})
    for test in result.tests:
        if test.shown:
            chart.add_scatter(
                x=[row.risk for row in test.deciles],
                y=[row.share for row in test.deciles],
                customdata=[row.objects for row in test.deciles],
                name=test.outcome,
                mode="lines+markers",
                line={"color": CHANGES[test.outcome]},
                hovertemplate="risk %{x:.2f}: %{y:.0%} of %{customdata} objects<extra>" + test.outcome + "</extra>",
            )
    axis = {"range": [-0.02, 1.02], "dtick": 0.25}
    chart.update_xaxes(title="mean risk of a tenth of the objects", **axis)
    chart.update_yaxes(title="observed share", **axis)
    return chart.update_layout(height=HEIGHT, margin=margin(top=32), legend=LEGEND, showlegend=True)
