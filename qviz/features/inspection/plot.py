"""A chart of the numbers of quantized and float operators in each file."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import GREY, REFERENCE, margin, plain
from qviz.features.inspection import Info


def figure(result: Info) -> go.Figure:
    """Stacked bars of quantized and float operators, one bar per model."""
    names = [plain(model.name) for model in result.models]
    quantized = [model.quantized_operators for model in result.models]
    floats = [model.operators - model.quantized_operators for model in result.models]
    chart = go.Figure()
    for label, counts, colour in (("quantized", quantized, REFERENCE), ("float", floats, GREY)):
        chart.add_trace(go.Bar(x=counts, y=names, orientation="h", name=label, marker={"color": colour}))
    chart.update_xaxes(title="operators")
    chart.update_yaxes(autorange="reversed")
    return chart.update_layout(barmode="stack", height=120 + 40 * len(names), margin=margin(top=32))
