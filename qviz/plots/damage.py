"""How many objects each variant kept, shifted, relabelled, lost and invented."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.analysis.changes import Summary
from qviz.plots.colours import CHANGES


def damage_bars(names: Sequence[str], summaries: Sequence[Summary]) -> go.Figure:
    """One stacked bar a variant, in objects; what is not kept stands out by colour."""
    figure = go.Figure()
    for change, colour in CHANGES.items():
        counts = [getattr(summary, change) for summary in summaries]
        figure.add_trace(
            go.Bar(
                x=counts,
                y=[name.replace("<", "&lt;") for name in names],
                orientation="h",
                name=change,
                marker={"color": colour if change != "kept" else "#9aa4ad"},
                text=[count or "" for count in counts],
                textposition="inside",
                insidetextanchor="middle",
                hovertemplate="%{y}: %{x} " + change + "<extra></extra>",
            )
        )
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="objects over the loaded images")
    return figure.update_layout(
        barmode="stack",
        height=110 + 34 * len(names),
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "traceorder": "normal"},
        bargap=0.3,
    )
