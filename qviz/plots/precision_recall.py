"""Precision over recall of one class at an IoU of .50, as pycocotools interpolates it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from qviz.plots.points import plain, points


def precision_recall(
    curves: Mapping[str, np.ndarray], ap50: Mapping[str, float | None], colours: list[str]
) -> go.Figure:
    """A line a model, the reference first and thicker. curves: (101,) precision over recall 0 to 1."""
    figure = go.Figure()
    for i, ((name, curve), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        figure.add_trace(
            go.Scatter(
                x=np.linspace(0, 1, len(curve)),
                y=curve,
                name=f"{plain(name)} · AP50 {points(ap50[name])}",
                mode="lines",
                line={"color": colour, "width": 3.5 if i == 0 else 1.8, "shape": "hv"},
                hovertemplate="precision %{y:.2f}<extra>" + plain(name) + "</extra>",
            )
        )
    figure.update_xaxes(title="recall at an IoU of .50", range=[-0.01, 1.01], dtick=0.25)
    figure.update_yaxes(title="precision", range=[-0.02, 1.04], dtick=0.25)
    return figure.update_layout(
        height=380,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hovermode="x unified",
        legend={"x": 1.02, "y": 1, "xanchor": "left"},
    )
