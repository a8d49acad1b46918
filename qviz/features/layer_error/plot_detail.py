"""Charts of one layer on one image: histograms of its values, error map, and channels of its weights.

FP32 has the reference's colour, and the variant its own. Counts have a logarithmic axis, because clipping may affect
only ten values in a million.
"""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go

from qviz.chart_style import CHANGES, REFERENCE, data_uri
from qviz.features.layer_error.detail import LayerDetail

LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
MARGIN = {"l": 8, "r": 8, "t": 32, "b": 8}
TWO_LINES = 46
"""Margin in pixels above a chart that has a legend and, below the legend, a line of text."""
HEIGHT = 270
NONE_COUNTED = 0.1
"""Count at which an empty bin is drawn on the logarithmic axis; it is below the axis's lower end."""
CLIPPED = CHANGES["lost"]
HEAT = [[0, "rgba(255,120,0,0)"], [0.2, "rgba(255,110,0,.15)"], [0.5, "rgba(240,60,0,.55)"], [1, "rgba(140,0,70,.95)"]]
"""Colour scale from transparent through vermilion to purple; the image shows through where the error is small."""


def value_histograms(detail: LayerDetail, colour: str) -> go.Figure:
    """Histograms: FP32's values as a filled area, the variant's as a line. The variant's range is a band, and values
    outside it are red.

    The layout is one dictionary, because plotly's functions that add lines and bands take three times as long.
    """
    shown = detail.histogram
    top = math.log10(max(int(shown.reference.max()), int(shown.variant.max()), 1)) + 0.2
    traces = [
        _steps("FP32", shown.edges, shown.reference, REFERENCE, fill=True),
        _steps("variant", shown.edges, shown.variant, colour, fill=False),
    ]
    layout = {
        "xaxis": {
            "title": {"text": "value of the activation"},
            "range": [float(shown.edges[0]), float(shown.edges[-1])],
        },
        "yaxis": {
            "title": {"text": "values (log scale)"},
            "type": "log",
            "range": [-0.3, top],
            "exponentformat": "power",
            "dtick": 1,
        },
        "height": HEIGHT,
        "margin": {**MARGIN, "t": TWO_LINES},
        "legend": {**LEGEND, "y": 1.09},
        "hovermode": "x unified",
    }
    if detail.values.representable is not None:
        layout |= _range(detail, colour)
    return go.Figure(traces, layout)


def _steps(name: str, edges: np.ndarray, counts: np.ndarray, colour: str, fill: bool) -> go.Scatter:
    """The outline of a histogram: each count spans its bin, from the left edge to the next."""
    left = [float(edge) for edge in edges]
    values = [int(count) for count in counts]
    return go.Scatter(
        x=left,
        y=[max(count, NONE_COUNTED) for count in [*values, values[-1]]],
        customdata=[*values, values[-1]],
        name=name,
        mode="lines",
        line={"shape": "hv", "color": colour, "width": 1 if fill else 2},
        fill="tozeroy" if fill else None,
        hovertemplate="%{customdata:,}<extra>" + name + "</extra>",
    )


def _range(detail: LayerDetail, colour: str) -> dict[str, object]:
    """The shapes and the annotation that show the representable range."""
    low, high = detail.values.representable or (0.0, 0.0)
    edges, (lowest, highest) = detail.histogram.edges, detail.values.reference
    half = (detail.layer.scale or 0.0) / 2  # values up to half a step beyond the end are rounded, not clipped
    bands = [(low, high, colour, 0.09)]
    if lowest < low - half:
        bands.append((float(edges[0]), low, CLIPPED, 0.14))
    if highest > high + half:
        bands.append((high, float(edges[-1]), CLIPPED, 0.14))
    tall = {"xref": "x", "yref": "y domain", "y0": 0, "y1": 1}
    shapes: list[dict[str, object]] = [
        {**tall, "type": "rect", "x0": x0, "x1": x1, "fillcolor": ink, "opacity": opacity, "layer": "below"}
        | {"line": {"width": 0}}
        for x0, x1, ink, opacity in bands
    ]
    shapes += [
        {**tall, "type": "line", "x0": end, "x1": end, "line": {"width": 1, "dash": "dash", "color": colour}}
        for end in (low, high)
    ]
    # below the legend, because within the chart it would cover a line or the other end's label
    corner = {"xref": "paper", "x": 1, "xanchor": "right", "yref": "paper", "y": 1, "yanchor": "bottom"}
    text = f"representable range: {low:.4g} to {high:.4g}"
    return {"shapes": shapes, "annotations": [{"text": text, "showarrow": False, "font": {"size": 12}, **corner}]}


def weight_channels(detail: LayerDetail, colour: str) -> go.Figure:
    """SQNR of the weights of each channel, with rings around the worst ones."""
    assert detail.weights is not None, "only a layer with weights has channels of them"
    weights, figure = detail.weights, go.Figure()
    figure.add_trace(
        go.Scatter(
            x=list(range(len(weights.channels))),
            y=weights.channels,
            mode="markers",
            name="channel",
            marker={"size": 5, "color": colour},
            hovertemplate="channel %{x}<br>%{y:.1f} dB<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[row.channel for row in weights.worst],
            y=[row.sqnr_db for row in weights.worst],
            customdata=[[_figure(row.scale), f"{row.max_abs:.4g}"] for row in weights.worst],
            mode="markers",
            name="worst channels",
            marker={"size": 11, "symbol": "circle-open", "color": CLIPPED, "line": {"width": 2}},
            hovertemplate="channel %{x}<br>%{y:.1f} dB<br>scale %{customdata[0]}, largest |w| %{customdata[1]}"
            "<extra>worst</extra>",
        )
    )
    if weights.sqnr_db is not None:
        figure.add_trace(
            go.Scatter(
                x=[0, max(len(weights.channels) - 1, 0)],
                y=[weights.sqnr_db, weights.sqnr_db],
                mode="lines",
                name=f"whole tensor, {weights.sqnr_db:.1f} dB",
                line={"width": 1, "dash": "dot", "color": "#8a9299"},
                hoverinfo="skip",
            )
        )
    figure.update_xaxes(title=f"channel, along axis {weights.axis} of the weights")
    figure.update_yaxes(title="SQNR of the weights in dB (higher is better)")
    return figure.update_layout(height=300, margin=MARGIN, legend=LEGEND)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def error_map(detail: LayerDetail, jpeg: bytes) -> go.Figure:
    """The image, overlaid with the RMS over channels of the difference; both keep the image's aspect ratio."""
    assert detail.map is not None, "only a feature map lies over the image"
    x0, y0, x1, y1 = detail.map.extent
    down, across = detail.map.error.shape
    width, height = detail.size
    dx, dy = (x1 - x0) / across, (y1 - y0) / down
    figure = go.Figure(
        go.Heatmap(
            z=detail.map.error,
            customdata=detail.map.reference,
            x0=x0 + dx / 2,
            dx=dx,
            y0=y0 + dy / 2,
            dy=dy,
            zmin=0,
            zmax=detail.map.highest or 1.0,
            colorscale=HEAT,
            colorbar={"title": {"text": "RMS of the difference", "side": "right"}, "thickness": 12},
            hovertemplate="difference %{z:.3g}<br>FP32's own RMS %{customdata:.3g}<extra></extra>",
        )
    )
    layout = {"x": 0, "y": 0, "sizex": width, "sizey": height, "xref": "x", "yref": "y", "layer": "below"}
    figure.add_layout_image(source=data_uri(jpeg), sizing="stretch", **layout)
    hidden = {"visible": False, "constrain": "domain"}
    figure.update_xaxes(range=[0, width], **hidden)
    figure.update_yaxes(range=[height, 0], scaleanchor="x", scaleratio=1, **hidden)
    return figure.update_layout(height=HEIGHT, margin=MARGIN, plot_bgcolor="rgba(0,0,0,0)")
