"""Where to cut: F1 of each model at the reference's best threshold and at its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from qviz.analysis.thresholds import ThresholdShift
from qviz.plots.colours import REFERENCE
from qviz.plots.points import plain


def threshold_moves(shifts: Mapping[str, ThresholdShift], colours: Sequence[str]) -> go.Figure:
    """A row a variant: open is F1 at the reference's threshold, filled at its own; the line is the reference's F1."""
    figure = go.Figure()
    for (name, shift), colour in zip(shifts.items(), colours, strict=True):
        unmoved, own = 100 * shift.variant_f1_unmoved, 100 * shift.variant.f1
        said = [_at(shift.reference.score), _at(shift.variant.score)]
        figure.add_trace(
            go.Scatter(
                x=[unmoved, own],
                y=[plain(name)] * 2,
                mode="lines+markers+text",
                line={"color": colour, "width": 2},
                marker={"color": colour, "size": 11, "symbol": ["circle-open", "circle"]},
                text=["", said[1]],
                textposition="top center",
                customdata=said,
                hovertemplate="%{y}: F1 %{x:.1f}, cut %{customdata}<extra></extra>",
                cliponaxis=False,
            )
        )
    best = next(iter(shifts.values())).reference
    figure.add_vline(x=100 * best.f1, line={"width": 1.5, "dash": "dash", "color": REFERENCE})
    figure.update_xaxes(title="F1 (×100; right is better)", range=_room(shifts))
    figure.update_yaxes(autorange="reversed", automargin=True, ticklabelstandoff=6, showgrid=False)
    return figure.update_layout(height=80 + 44 * len(shifts), margin={"l": 8, "r": 8, "t": 8, "b": 8}, showlegend=False)


def _at(score: float | None) -> str:
    return "nowhere" if score is None else f"at {score:.2f}"


def _room(shifts: Mapping[str, ThresholdShift]) -> list[float]:
    """All points with room for their text."""
    values = [100 * f1 for s in shifts.values() for f1 in (s.reference.f1, s.variant.f1, s.variant_f1_unmoved)]
    low, high = min(values), max(values)
    return [low - 0.06 * (high - low) - 1, high + 0.16 * (high - low) + 2]
