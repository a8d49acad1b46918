"""Loss by class, ranked."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.analysis.ap_figures import VariantLoss

MIN_SHOWN = 5e-4
"""Classes that lose or gain less AP than this are left to the table."""


def class_loss_bars(loss: VariantLoss, colour: str, most: int = 30) -> go.Figure:
    """Bars of AP points lost by class (x100; to the right is worse), the worst on top, gains paler."""
    rows = [row for row in loss.per_class if row.loss.value is not None and abs(row.loss.value) >= MIN_SHOWN]
    rows = sorted(rows, key=lambda row: -abs(row.loss.value or 0))[:most]
    rows.sort(key=lambda row: row.loss.value or 0)
    values = [100 * (row.loss.value or 0) for row in rows]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=[_plain(row.label) for row in rows],
            orientation="h",
            marker={"color": colour, "opacity": [1.0 if value > 0 else 0.4 for value in values]},
            text=[f"{value:+.1f}" for value in values],
            textposition="outside",
            cliponaxis=False,
            customdata=[[row.truths, row.images] for row in rows],
            hovertemplate="%{y}: %{x:+.1f} points<br>%{customdata[0]} objects, %{customdata[1]} images<extra></extra>",
        )
    )
    figure.update_xaxes(title="AP points lost (×100; right is worse)", zeroline=True, zerolinecolor="#8a9299")
    figure.update_yaxes(automargin=True, ticklabelstandoff=4)
    return figure.update_layout(
        height=max(180, 60 + 22 * len(rows)), margin={"l": 8, "r": 48, "t": 8, "b": 8}, bargap=0.25
    )


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
