"""Layer x severity: the share of FP32's activations outside of the variant's ranges, under one corruption."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.analysis.saturation import Saturation
from qviz.plots.points import plain

SCALE = [[0, "rgba(213,94,0,.04)"], [0.35, "rgba(213,94,0,.45)"], [1, "#a83c00"]]
"""The page shows through where nothing is clipped."""


def saturation_heat(found: Saturation) -> go.Figure:
    """found: of one corruption (`Saturation.under`). Layers from left to right, the clean image at the bottom.

    Coloured by the square root of the share, so that a thousandth can be told from nothing.
    """
    shares = [[layer.shares[at] for layer in found.layers] for at in range(len(found.shifts))]
    figure = go.Figure(
        go.Heatmap(
            z=[[share**0.5 for share in row] for row in shares],
            x=list(range(len(found.layers))),
            y=["clean" if shift is None else f"{shift.amount:g}" for shift in found.shifts],
            customdata=[
                [
                    (layer.order, plain(layer.op_kind), plain(layer.tensor[:70]), f"{layer.shares[at]:.2%}")
                    for layer in found.layers
                ]
                for at in range(len(found.shifts))
            ],
            hovertemplate="operator %{customdata[0]}: %{customdata[1]}<br>%{customdata[2]}<br>"
            "%{customdata[3]} clipped at severity %{y}<extra></extra>",
            zmin=0,
            zmax=max(0.1, max((share**0.5 for row in shares for share in row), default=0.1)),
            colorscale=SCALE,
            colorbar={
                "title": {"text": "clipped", "side": "right"},
                "thickness": 12,
                "tickvals": [0, 0.01**0.5, 0.05**0.5, 0.2**0.5, 0.5**0.5, 1],
                "ticktext": ["0", "1%", "5%", "20%", "50%", "100%"],
            },
            ygap=1,
        )
    )
    every = max(1, len(found.layers) // 12)
    ticks = list(range(0, len(found.layers), every))
    orders = [str(found.layers[i].order) for i in ticks]
    title = "operator of the variant, in the file's order"
    figure.update_xaxes(tickvals=ticks, ticktext=orders, showgrid=False, zeroline=False, title=title)
    figure.update_yaxes(title="severity", type="category", showgrid=False)
    height = 110 + 34 * len(found.shifts)
    return figure.update_layout(height=height, margin={"l": 8, "r": 8, "t": 8, "b": 8})
