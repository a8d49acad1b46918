"""Agreement by the number of operators in float."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import GREY, variant_colour
from qviz.features.what_if import WhatIf

MAX_SHOWN = 60


def figure(result: WhatIf) -> go.Figure:
    """Agreement by number of operators in float, with one point per set; a line joins the sets in `WhatIf.smallest`."""
    chart = go.Figure()
    chart.add_trace(
        go.Scatter(
            x=[len(row.orders) for row in result.sets],
            y=[row.agreement for row in result.sets],
            customdata=[[row.kind, row.text[:MAX_SHOWN]] for row in result.sets],
            mode="markers",
            name="sets",
            marker={"color": GREY, "size": 7},
            hovertemplate="%{customdata[0]}: %{customdata[1]}<br>agreement %{y:.3f}<extra></extra>",
        )
    )
    chart.add_trace(
        go.Scatter(
            x=[0, *(len(row.orders) for row in result.smallest)],
            y=[result.base, *(row.agreement for row in result.smallest)],
            mode="lines+markers",
            name="best by size",
            line={"color": variant_colour(0), "width": 2, "shape": "hv"},
        )
    )
    chart.update_xaxes(title="operators in float", rangemode="tozero")
    chart.update_yaxes(title="agreement (higher is better)", range=[0, 1.03])
    return chart.update_layout(height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8})
