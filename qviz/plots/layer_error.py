"""Error along the network: local and cumulative SQNR of every layer."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.analysis.layer_error import LayerErrors

LOCAL = {"symbol": "circle-open", "size": 6}
CUMULATIVE = {"symbol": "circle", "size": 5}


def layer_error_chart(results: Sequence[tuple[str, LayerErrors, str]]) -> go.Figure:
    """(short name, errors, colour) of each variant: cumulative as a line, local as open dots; dB, higher is better."""
    figure = go.Figure()
    for name, errors, colour in results:
        texts = [[layer.op_kind, _plain(layer.tensor[-60:]), layer.order] for layer in errors.layers]
        orders = [layer.order for layer in errors.layers]
        hover = "%{customdata[0]} (operator %{customdata[2]})<br>%{y:.1f} dB<br>%{customdata[1]}<extra>" + _plain(name)
        figure.add_trace(
            go.Scatter(
                x=orders,
                y=[layer.cumulative_sqnr_db for layer in errors.layers],
                mode="lines+markers",
                name=f"{_plain(name)}, cumulative",
                marker={**CUMULATIVE, "color": colour},
                line={"color": colour, "width": 2},
                customdata=texts,
                hovertemplate=hover + ", cumulative</extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=orders,
                y=[layer.local_sqnr_db for layer in errors.layers],
                mode="markers",
                name=f"{_plain(name)}, local",
                marker={**LOCAL, "color": colour},
                customdata=texts,
                hovertemplate=hover + ", local</extra>",
            )
        )
    figure.update_xaxes(title="operator, in the order of the variant's file")
    figure.update_yaxes(title="SQNR in dB (higher is better)", rangemode="tozero")
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    return figure.update_layout(height=430, margin={"l": 8, "r": 8, "t": 40, "b": 8}, legend=legend, clickmode="event")


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
