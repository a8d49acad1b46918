"""One object's confidence for each operator at which the variant takes over from FP32."""

from __future__ import annotations

import plotly.graph_objects as go

from qviz.chart_style import CHANGES, REFERENCE, plain, variant_colour
from qviz.features.tracing import Trace
from qviz.features.tracing.culprits import Culprit
from qviz.formatting import shortened

MAX_NAMED = 3
"""Number of culprits that the chart names; the others are only marked."""


def figure(result: Trace) -> go.Figure:
    """The chart of a trace, labelled with the names of its models; see `trace_chart`."""
    return trace_chart(result, result.reference, result.variant, variant_colour(0))


def trace_chart(trace: Trace, reference: str, variant: str, colour: str) -> go.Figure:
    """A step line of the score over the operators, with the scores of both models alone and the culprits.

    Args:
        reference, variant: Names of the models.
        colour: Colour of the variant.
    """
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[point.order for point in trace.points],
            y=[point.score for point in trace.points],
            customdata=[[point.op_kind, plain(shortened(point.tensor, 60))] for point in trace.points],
            mode="lines" if trace.complete else "lines+markers",
            line={"color": colour, "width": 2, "shape": "hv" if trace.complete else "linear"},
            name=f"{plain(variant)} from this operator on",
            hovertemplate="%{customdata[0]} (operator %{x})<br>%{y:.2f}<br>%{customdata[1]}<extra></extra>",
        )
    )
    _level(figure, trace.object.reference_score, f"{plain(reference)} alone", REFERENCE, "top")
    _level(figure, trace.object.variant_score, f"{plain(variant)} alone", colour, "bottom")
    if trace.culprits:
        figure.add_trace(_marks(trace))
    for culprit in trace.culprits[:MAX_NAMED]:
        _name(figure, trace, culprit)
    figure.update_xaxes(title=f"operator at which {plain(variant)} takes over", zeroline=False)
    figure.update_yaxes(title=f"confidence of {plain(trace.object.label)}", range=[-0.04, 1.08], dtick=0.25)
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
    return figure.update_layout(height=360, margin={"l": 8, "r": 8, "t": 32, "b": 8}, legend=legend)


def _level(figure: go.Figure, score: float, text: str, colour: str, side: str) -> None:
    figure.add_hline(
        score,
        line={"width": 1, "dash": "dot", "color": colour},
        annotation_text=f"{text}: {score:.2f}",
        annotation_position=f"{side} right",
    )


def _marks(trace: Trace) -> go.Scatter:
    """A marker for each culprit, at the point of the curve where its loss ends."""
    return go.Scatter(
        x=[culprit.order for culprit in trace.culprits],
        y=[_score_at(trace, culprit.order) for culprit in trace.culprits],
        customdata=[[culprit.op_kind, culprit.cause.words, culprit.gain] for culprit in trace.culprits],
        mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": CHANGES["lost"], "line": {"width": 1, "color": "white"}},
        name="culprits",
        cliponaxis=False,
        hovertemplate="%{customdata[0]} (operator %{x})<br>%{customdata[1]}, gain %{customdata[2]:+.2f}<extra></extra>",
    )


def _name(figure: go.Figure, trace: Trace, culprit: Culprit) -> None:
    late = culprit.order > trace.points[-1].order * 0.7
    figure.add_annotation(
        x=culprit.order,
        y=_score_at(trace, culprit.order),
        text=f"{culprit.op_kind}: {culprit.cause.words}",
        xanchor="right" if late else "left",
        ax=-24 if late else 24,
        ay=-20,
        arrowwidth=1,
        arrowcolor="#8a9299",
    )


def _score_at(trace: Trace, order: int) -> float | None:
    return next((point.score for point in trace.points if point.order == order), None)
