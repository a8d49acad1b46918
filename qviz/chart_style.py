"""AP in charts: points (x100), intervals, and whether they are significant. Numbers are written by `formatting`.

Colours, with one meaning everywhere: page, chart, overlay and report.

Okabe and Ito's palette, safe for the colour-blind (Color Universal Design, 2008). The reference is blue, each variant
has its own in the order of loading; vermilion and orange come last, as changes use their neighbours.
"""

from __future__ import annotations

import base64

from qviz.formatting import interval
from qviz.structures import Loss

GREY = "#8a9299"
FADED, FULL = 0.35, 1.0
"""Opacity of losses that may be noise, and of others."""


LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
"""Above the chart."""


def margin(top: int = 8, right: int = 8) -> dict[str, int]:
    """Margins of a chart in pixels; a legend above the chart needs a larger `top`."""
    return {"l": 8, "r": right, "t": top, "b": 8}


def bracket(loss: Loss) -> str:
    """The 95% interval, or nothing where there is none."""
    return interval(loss.low, loss.high)


def sureness(loss: Loss) -> str:
    """Significant or not, in words; too few images have no interval."""
    if loss.low is None:
        return "too few images for an interval"
    return "significant" if loss.significant else "not significant"


def opacity(loss: Loss) -> float:
    """Faded where the loss may be noise."""
    return FULL if loss.significant else FADED


def whiskers(losses: list[Loss]) -> dict[str, object]:
    """Plotly's error bars of intervals, in points; none where there is no interval."""
    ups = [100 * (row.high - row.value) if row.high is not None and row.value is not None else None for row in losses]
    downs = [100 * (row.value - row.low) if row.low is not None and row.value is not None else None for row in losses]
    return {
        "type": "data",
        "symmetric": False,
        "array": ups,
        "arrayminus": downs,
        "color": GREY,
        "thickness": 1.5,
        "width": 3,
    }


def plain(text: str) -> str:
    """Text in which Plotly finds no HTML; names come from files."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def faded(colour: str, alpha: float) -> str:
    """#rrggbb as Plotly's rgba."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


REFERENCE = "#0072B2"
VARIANTS = ("#009E73", "#56B4E9", "#CC79A7", "#B8A800", "#D55E00", "#E69F00", "#7F7F7F")
CHANGES = {
    "kept": "#5f6b76",
    "shifted": "#f2b705",
    "relabelled": "#a678de",
    "lost": "#e0402a",
    "spurious": "#f5821f",
}


def colours(count: int) -> list[str]:
    """The colours of the reference and of its variants, in the order of loading."""
    return [REFERENCE, *(variant_colour(position) for position in range(count - 1))][:count]


def data_uri(jpeg: bytes) -> str:
    """A JPEG as the source of an <img>."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def variant_colour(position: int) -> str:
    """The colour of the variant loaded as number `position`, from 0."""
    return VARIANTS[position % len(VARIANTS)]
