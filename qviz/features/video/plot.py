"""The timeline of a video: number of objects of both models, agreement and brightness over time."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from qviz.chart_style import CHANGES, GREY, LEGEND, colours, margin, plain
from qviz.features.video import VideoResult

HEIGHT = 380


def figure(result: VideoResult, names: Sequence[str] | None = None, inks: Sequence[str] | None = None) -> go.Figure:
    """Three rows of charts with a common time axis. The `customdata` of a point is its frame.

    `names` and `inks` are the shown names and colours of the reference and the variant; by default the names of the
    files and the first two colours.
    """
    shown, chosen = names or [row.model for row in result.summary], inks or colours(2)
    chart = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.4, 0.35, 0.25])
    seconds = [row.seconds for row in result.frames]
    indices = [row.index for row in result.frames]

    def line(row: int, values: Sequence[float | None], name: str, colour: str, shape: str = "linear") -> None:
        chart.add_scatter(
            x=seconds,
            y=list(values),
            customdata=indices,
            name=plain(name),
            mode="lines+markers",
            marker={"size": 4},
            line={"color": colour, "width": 1.5, "shape": shape},
            showlegend=row == 1,
            hovertemplate=f"%{{x:.2f}} s, frame %{{customdata}}: {plain(name)} %{{y:.3g}}<extra></extra>",
            row=row,
            col=1,
        )

    for number, (name, colour) in enumerate(zip(shown, chosen, strict=True)):
        line(1, [row.models[number].objects for row in result.frames], name, colour, "hv")
    line(2, [row.models[1].agreement for row in result.frames], "agreement", chosen[1])
    line(3, [row.brightness for row in result.frames], "brightness", GREY)
    _alarms(chart, result)
    chart.update_layout(height=HEIGHT, margin=margin(top=32), legend=LEGEND, hovermode="closest")
    for row, title in enumerate(("objects", "agreement", "brightness"), start=1):
        chart.update_yaxes(title=title, rangemode="tozero", row=row, col=1)
    chart.update_yaxes(range=[-0.05, 1.05], row=2, col=1)
    chart.update_xaxes(title="seconds", row=3, col=1)
    return chart


def _alarms(chart: go.Figure, result: VideoResult) -> None:
    """Mark the frames that leave the variant's ranges, at the top of the row of agreement."""
    rows = [row for row in result.out_of_range if row.alarm]
    if not rows:
        return
    chart.add_scatter(
        x=[row.seconds for row in rows],
        y=[1.03] * len(rows),
        customdata=[row.index for row in rows],
        text=[f"{row.score:.3f}" for row in rows],
        name="out of range",
        mode="markers",
        marker={"size": 9, "symbol": "triangle-down", "color": CHANGES["lost"]},
        hovertemplate="%{x:.2f} s, frame %{customdata}: out of the calibrated ranges, score %{text}<extra></extra>",
        row=2,
        col=1,
    )
