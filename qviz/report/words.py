"""How figures are written: AP x100 with one decimal, confidences with two, MB with three significant figures."""

from __future__ import annotations

from typing import Any

from qviz.plots.points import bracket, points, signed_points


def megabytes(size: int) -> str:
    """13481234 -> 13.5 MB"""
    return f"{size / 1e6:.3g} MB"


def decibels(value: float | None) -> str:
    """SQNR without its unit, which stands in the head of the column."""
    return "–" if value is None else f"{round(value, 1) + 0.0:.1f}"  # + 0.0: no minus before nothing


def percent(value: float | None) -> str:
    """.123 -> 12.3 %"""
    return "–" if value is None else f"{100 * value:.1f} %"


def share(value: float) -> str:
    """.2534 -> 25 %"""
    return f"{100 * value:.0f} %"


def score(value: float | None) -> str:
    """A confidence or an agreement."""
    return "–" if value is None else f"{value:.2f}"


def setting(value: Any) -> str:
    """A setting's value; three equal ones are one."""
    if value is None:
        return "–"
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
}
