"""The loss of recall over a continuous trait, such as brightness: a line per variant, with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from qviz.chart_style import LEGEND, colours, margin, plain, whiskers
from qviz.features.accuracy.slice_loss import TraitCurve
from qviz.formatting import plural, three

HEIGHT = 300
UNITS = {
    "brightness": "brightness (mean grey level, 0 to 255)",
    "contrast": "contrast (standard deviation of the grey levels)",
    "sharpness": "sharpness (standard deviation of the Laplacian)",
    "noise": "noise (standard deviation, grey levels)",
    "saturation": "saturation (0 to 255)",
    "size": "size (square root of the area, pixels)",
}


def figure(curve: TraitCurve, names: Sequence[str] | None = None, inks: Sequence[str] | None = None) -> go.Figure:
    """A line chart of the loss of recall (x100) over the trait, one line per variant.

    names, inks: the shown names and the colours of the variants; by default, the names of the files and the colours in
    the order of loading.
    """
    shown = names or [loss.variant for loss in curve.points[0].losses]
    chosen = inks or colours(len(shown) + 1)[1:]
    chart = go.Figure()
    for number, (name, ink) in enumerate(zip(shown, chosen, strict=True)):
        losses = [point.losses[number].loss for point in curve.points]
        chart.add_scatter(
            x=[point.middle for point in curve.points],
            y=[None if loss.value is None else 100 * loss.value for loss in losses],
            error_y=whiskers(losses),
            customdata=[
                f"{three(point.low)} to {three(point.high)}: {plural(point.truths, 'object')} on"
                f" {plural(point.images, 'image')}"
                for point in curve.points
            ],
            name=plain(name),
            mode="lines+markers",
            line={"color": ink},
            hovertemplate=f"%{{customdata}}<br>{plain(name)} loses %{{y:.1f}} points of recall<extra></extra>",
        )
    chart.update_layout(height=HEIGHT, margin=margin(top=32), legend=LEGEND, showlegend=True)
    chart.update_xaxes(title=plain(UNITS.get(curve.trait, curve.trait)))
    chart.update_yaxes(title="recall lost (×100)", zeroline=True)
    return chart
