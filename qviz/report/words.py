"""What templates call to write figures (see `analysis.written`); decibels and settings are the report's own."""

from __future__ import annotations

from typing import Any

from qviz.analysis.written import UNKNOWN, megabytes, points, score, share, signed_points, three
from qviz.plots.points import bracket


def decibels(value: float | None) -> str:
    """SQNR without its unit, which stands in the head of the column."""
    return UNKNOWN if value is None else f"{round(value, 1) + 0.0:.1f}"  # + 0.0: no minus before nothing


def percent(value: float | None) -> str:
    """.123 -> 12.3%"""
    return UNKNOWN if value is None else f"{value:.1%}"


def setting(value: Any) -> str:
    """A setting's value; three equal ones are one."""
    if value is None:
        return UNKNOWN
    if isinstance(value, (list, tuple)):
        return setting(value[0]) if len(set(value)) == 1 else ", ".join(setting(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


FILTERS = {
    "bracket": bracket,
    "decibels": decibels,
    "megabytes": megabytes,
    "percent": percent,
    "points": points,
    "score": score,
    "setting": setting,
    "share": share,
    "signed_points": signed_points,
    "three": three,
}
