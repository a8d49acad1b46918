"""One object's confidence for each operator at which the variant takes over from FP32."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import CHANGES, REFERENCE
from qviz.features.tracing import Trace
from qviz.features.tracing.culprits import Culprit

NAMED = 3
"""Culprits that are written into the chart; the others are marked."""


def trace_chart(found: Trace, reference: str, variant: str, colour: str) -> go.Figure:
    """A step line over the operators; the two scores as levels; culprits marked. reference, variant: short names."""
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[point.order for point in found.points],
            y=[point.score for point in found.points],
            customdata=[[point.op_kind, _plain(point.tensor[-60:])] for point in found.points],
            mode="lines" if found.complete else "lines+markers",
            line={"color": colour, "width": 2, "shape": "hv" if found.complete else "linear"},
            name=f"{_plain(variant)} from this operator on",
            hovertemplate="%{customdata[0]} (operator %{x})<br>%{y:.2f}<br>%{customdata[1]}<extra></extra>",
        )
    )
    _level(figure, found.object.reference_score, f"{_plain(reference)} alone", REFERENCE, "top")
    _level(figure, found.object.variant_score, f"{_plain(variant)} alone", colour, "bottom")
    if found.culprits:
        figure.add_trace(_marks(found))
    for culprit in found.culprits[:NAMED]:
        _name(figure, found, culprit)
    figure.update_xaxes(title=f"operator at which {_plain(variant)} takes over", zeroline=False)
    figure.update_yaxes(title=f"confidence of {_plain(found.object.label)}", range=[-0.04, 1.08], dtick=0.25)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    return figure.update_layout(height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8}, legend=legend)


def _level(figure: go.Figure, score: float, text: str, colour: str, side: str) -> None:
    figure.add_hline(
        score,
        line={"width": 1, "dash": "dot", "color": colour},
        annotation_text=f"{text}: {score:.2f}",
        annotation_position=f"{side} right",
    )


def _marks(found: Trace) -> go.Scatter:
    """A culprit is marked where it stands on the curve, at the end of its loss."""
    return go.Scatter(
        x=[culprit.order for culprit in found.culprits],
        y=[_score_at(found, culprit.order) for culprit in found.culprits],
        customdata=[[culprit.op_kind, _cause(culprit), culprit.gain] for culprit in found.culprits],
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": CHANGES["lost"], "line": {"width": 1, "color": "white"}},
        name="culprits",
        cliponaxis=False,
        hovertemplate="%{customdata[0]} (operator %{x})<br>%{customdata[1]}, gain %{customdata[2]:+.2f}<extra></extra>",
    )


def _name(figure: go.Figure, found: Trace, culprit: Culprit) -> None:
    late = culprit.order > found.points[-1].order * 0.7
    figure.add_annotation(
        x=culprit.order,
        y=_score_at(found, culprit.order),
        text=f"{culprit.op_kind}: {_cause(culprit)}",
        xanchor="right" if late else "left",
        ax=-24 if late else 24,
        ay=-20,
        arrowwidth=1,
        arrowcolor="#8a9299",
    )


def _score_at(found: Trace, order: int) -> float | None:
    return next((point.score for point in found.points if point.order == order), None)


def _cause(culprit: Culprit) -> str:
    return culprit.cause.replace("_", " ")


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
