"""The style of all charts: how AP losses are drawn, and the colours.

AP is shown in points (x100). Losses have an interval and say whether they are significant. `qviz.formatting` writes the
numbers.

A colour has the same meaning on pages, in charts, in overlays and in the report. The palette is that of Okabe and Ito,
which is safe for colour-blind readers (Color Universal Design, 2008). The reference is blue, and variants take their
colours in the order of loading; vermilion and orange come last, because `CHANGES` uses similar colours.
"""

from __future__ import annotations

import base64

from qviz.formatting import interval
from qviz.structures import Loss

GREY = "#8a9299"
FADED, FULL = 0.35, 1.0
"""Opacity of losses that may be noise, and of all others."""


LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom"}
"""Plotly layout of a horizontal legend above the chart."""


def margin(top: int = 8, right: int = 8) -> dict[str, int]:
    """Plotly margins of a chart in pixels; a legend above the chart needs a larger `top`."""
    return {"l": 8, "r": right, "t": top, "b": 8}


def bracket(loss: Loss) -> str:
    """The 95% interval as text; empty if there is none."""
    return interval(loss.low, loss.high)


def sureness(loss: Loss) -> str:
    """`significant`, `not significant`, or `too few images for an interval`."""
    if loss.low is None:
        return "too few images for an interval"
    return "significant" if loss.significant else "not significant"


def opacity(loss: Loss) -> float:
    """The opacity of a loss: `FADED` if it may be noise, else `FULL`."""
    return FULL if loss.significant else FADED


def whiskers(losses: list[Loss]) -> dict[str, object]:
    """Plotly error bars for the losses' intervals, in points of AP; a loss without an interval gets no bar."""
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
    """The text with HTML escaped, because Plotly renders some tags and names come from untrusted files."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def faded(colour: str, alpha: float) -> str:
    """A colour `#rrggbb` with this opacity, as Plotly's `rgba(...)`."""
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
    """`count` colours: that of the reference, then those of its variants in the order of loading."""
    return [REFERENCE, *(variant_colour(position) for position in range(count - 1))][:count]


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a data URI, for the `src` of an <img>."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def variant_colour(position: int) -> str:
    """The colour of a variant by its position in the order of loading, counted from 0."""
    return VARIANTS[position % len(VARIANTS)]
