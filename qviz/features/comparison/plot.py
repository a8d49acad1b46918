"""Reference confidence against variant confidence, a dot an object."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.chart_style import CHANGES
from qviz.features.comparison import ComparedObject

SYMBOLS = {"kept": "circle", "shifted": "diamond", "relabelled": "square", "lost": "x", "spurious": "triangle-up"}


def confidence_scatter(objects: Sequence[ComparedObject], reference: str, variant: str, score: float) -> go.Figure:
    """Objects on the diagonal kept their confidence; a lost or spurious one lies on the side that still has it."""
    figure = go.Figure()
    figure.add_shape(type="line", x0=0, y0=0, x1=1, y1=1, line={"width": 1, "dash": "dot", "color": "#8a9299"})
    for name, symbol in SYMBOLS.items():
        rows = [(i, row) for i, row in enumerate(objects) if row.change == name]
        if rows:
            figure.add_trace(_dots(name, symbol, rows))
    axis = {"range": [-0.03, 1.03], "dtick": 0.25, "constrain": "domain"}
    figure.update_xaxes(title=f"confidence, {reference}", **axis)
    figure.update_yaxes(title=f"confidence, {variant}", scaleanchor="x", **axis)
    for add in (figure.add_vline, figure.add_hline):
        add(score, line={"width": 1, "color": "#c3c8cc", "dash": "dash"})
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    return figure.update_layout(height=380, margin={"l": 8, "r": 8, "t": 32, "b": 8}, legend=legend)


def _dots(name: str, symbol: str, rows: Sequence[tuple[int, ComparedObject]]) -> go.Scatter:
    return go.Scatter(
        x=[row.reference_score or 0 for _, row in rows],
        y=[row.variant_score or 0 for _, row in rows],
        customdata=[[i, _label(row)] for i, row in rows],
        name=name,
        mode="markers",
        marker={"symbol": symbol, "size": 10, "color": CHANGES[name], "line": {"width": 1, "color": "white"}},
        hovertemplate="%{customdata[1]}<br>%{x:.2f} → %{y:.2f}<extra>" + name + "</extra>",
    )


def _label(row: ComparedObject) -> str:
    """Plotly reads a subset of HTML in hovers: labels come from files."""
    text = row.label if row.change != "relabelled" else f"{row.label} → {row.variant_label}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
