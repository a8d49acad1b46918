"""Agreement of every backend with the first one, and what other kernels or a device change along the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from qviz.chart_style import REFERENCE, plain, variant_colour
from qviz.features.backends import BackendComparison
from qviz.features.backends.noise import LayerNoise, NoiseBudget
from qviz.features.backends.recorded_layers import RecordedLayers


def figure(
    result: BackendComparison | NoiseBudget | RecordedLayers, names: Mapping[str, str] | None = None
) -> go.Figure:
    """Agreement by backend or, for a noise budget or a recording, SQNR along the network.

    Args:
        names: Model's name -> name shown in the legend, for agreements.
    """
    if isinstance(result, NoiseBudget):
        return _along_network({f"{noise.kernels} kernels": _between(noise.layers) for noise in result.sets})
    if isinstance(result, RecordedLayers):
        device = [(row, row.recorded_sqnr_db) for row in result.layers]
        here = [(row, row.here_sqnr_db) for row in result.layers]
        lines = {"device against FP32": device, "kernels here against FP32": here}
        return _along_network({**lines, "device against kernels here": _between(result.layers)})
    return agreement_chart(result, names)


def agreement_chart(result: BackendComparison, names: Mapping[str, str] | None = None) -> go.Figure:
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


Figures = Sequence[tuple[LayerNoise, float | None]]
"""(operator, SQNR in dB) each; None where two tensors are equal."""


def _between(layers: Sequence[LayerNoise]) -> Figures:
    return [(layer, layer.kernel_sqnr_db) for layer in layers]


def _along_network(lines: Mapping[str, Figures]) -> go.Figure:
    """One line each of cumulative SQNR. Equal tensors have no point."""
    chart = go.Figure()
    for position, (name, figures) in enumerate(lines.items()):
        chart.add_trace(
            go.Scatter(
                x=[layer.order for layer, _ in figures],
                y=[value for _, value in figures],
                customdata=[plain(layer.op_kind) for layer, _ in figures],
                mode="lines+markers",
                name=plain(name),
                line={"color": variant_colour(position)},
                hovertemplate="operator %{x}: %{customdata}<br>%{y:.1f} dB<extra></extra>",
            )
        )
    chart.update_xaxes(title="operator, in the order of the file")
    chart.update_yaxes(title="SQNR, dB (higher is better)", rangemode="tozero")
    return chart.update_layout(height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8})
