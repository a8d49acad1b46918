"""What each kind of error costs, reference beside variant: TIDE's dAP in points (x100; higher is worse)."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.analysis.error_types import ErrorCost
from qviz.plots.colours import REFERENCE
from qviz.plots.points import plain, points


def error_bars(errors: Sequence[tuple[ErrorCost, ErrorCost]], reference: str, variant: str, colour: str) -> go.Figure:
    """Two bars a kind; how many errors there are is in the hover."""
    figure = go.Figure()
    sides = ((reference, REFERENCE, [row for row, _ in errors]), (variant, colour, [row for _, row in errors]))
    for name, shade, rows in sides:
        figure.add_trace(
            go.Bar(
                x=[row.kind for row in rows],
                y=[100 * row.cost for row in rows],
                name=plain(name),
                marker={"color": shade},
                text=[points(row.cost) for row in rows],
                textposition="outside",
                cliponaxis=False,
                customdata=[row.count for row in rows],
                hovertemplate="%{x}: dAP %{y:.1f}, %{customdata:,} errors<extra>" + plain(name) + "</extra>",
            )
        )
    figure.update_yaxes(title="dAP (×100; higher is worse)")
    return figure.update_layout(
        height=330,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        bargap=0.3,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
    )
