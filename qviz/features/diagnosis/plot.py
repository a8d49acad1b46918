"""The network as a strip with one cell per operator of the variant, the operators of causes in colour."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.features.diagnosis.result import Diagnosis
from qviz.formatting import share

CAUSES = ("#b3261e", "#d9822b", "#b8860b", "#8a5a00")
"""Colours of the causes, the largest first."""
OTHER = "#cfe0ee"


def colour_of(number: int) -> str:
    """The colour of cause `number`, where 0 is the largest cause."""
    return CAUSES[min(number, len(CAUSES) - 1)]


def figure(result: Diagnosis) -> go.Figure:
    """One cell per operator, in the order of the file."""
    colours, texts = [OTHER] * result.operators, [f"operator {order}" for order in range(result.operators)]
    for number, cause in reversed(list(enumerate(result.causes))):
        for order in cause.operators:
            colours[order] = colour_of(number)
            texts[order] = f"operator {order}<br>{number + 1}. {cause.title}: {share(cause.explained)} comes back"
    chart = go.Figure(
        go.Bar(
            x=list(range(result.operators)),
            y=[1] * result.operators,
            marker={"color": colours, "line": {"width": 0}},
            hovertext=texts,
            hoverinfo="text",
        )
    )
    chart.update_xaxes(title=None, showgrid=False, range=[-0.5, result.operators - 0.5])
    chart.update_yaxes(visible=False, range=[0, 1], fixedrange=True)
    gap = 0.15 if result.operators < 250 else 0
    return chart.update_layout(height=64, bargap=gap, margin={"l": 0, "r": 0, "t": 2, "b": 18}, dragmode=False)
