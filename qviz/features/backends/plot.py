"""Agreement of every backend with the first one."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from qviz.chart_style import REFERENCE, variant_colour
from qviz.features.backends import BackendComparison


def figure(result: BackendComparison, names: Mapping[str, str] | None = None) -> go.Figure:
    """Grouped bars: one group per backend, one bar per model. names: model's name -> name shown in the legend."""
    chart = go.Figure()
    for number, model in enumerate(result.models):
        rows = model.results[1:] or model.results
        chart.add_trace(
            go.Bar(
                x=[row.backend for row in rows],
                y=[row.agreement for row in rows],
                name=(names or {}).get(model.name, model.name),
                marker_color=variant_colour(number - 1) if number else REFERENCE,
                customdata=[[row.lost, row.spurious, row.max_score_delta, row.precision] for row in rows],
                hovertemplate="%{x}: agreement %{y:.3f}<br>%{customdata[0]} lost, %{customdata[1]} spurious<br>"
                "largest change of a score %{customdata[2]:.3f}<br>%{customdata[3]}<extra>%{fullData.name}</extra>",
            )
        )
    first = next((model.results[0].backend for model in result.models if model.results), "the first backend")
    chart.update_yaxes(title=f"agreement with {first} (higher is better)", range=[0, 1.03])
    return chart.update_layout(barmode="group", height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8})
