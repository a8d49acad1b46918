"""The finding of a rescue in words: what was found, what it loses on images that no choice has seen, what it gains."""

from __future__ import annotations

from qviz import formatting
from qviz.features.rescuing.result import AP, LATENCY, Rescue, Tried
from qviz.structures import Loss


def rescue_verdict(found: Rescue) -> str:
    """One or two sentences; of a search under way what is known so far."""
    best = found.best
    if best is None:
        return "Nothing has been measured yet."
    if not best.within:
        opening = f"Nothing that was tried keeps the budget ({found.budget.text}); the nearest is {best.candidate.name}"
    else:
        opening = f"{best.candidate.name} keeps the budget"
        opening += "" if found.chosen is None or found.kept else f" on the {found.search_images} images searched on"
    return f"{opening}: {_gain(best, found)}, {_loses(found, best)}."


def _gain(row: Tried, found: Rescue) -> str:
    """`1.24 MB, 33 % of the reference, 2.1 times as fast`"""
    said = f"{formatting.megabytes(row.bytes)}, {row.bytes / max(found.reference_bytes, 1):.0%} of the reference"
    if found.prefer == LATENCY and row.speed is not None:
        said += f", {row.speed:.2g} times as fast"
    return said


def _loses(found: Rescue, best: Tried) -> str:
    chosen = found.chosen
    if chosen is None or chosen.loss.value is None:
        loss = None if best.search_loss is None else _told(Loss(best.search_loss), found.budget.measure)
        return f"{loss} on the {found.search_images} images searched on" if loss else "its loss unknown"
    said = f"{_told(chosen.loss, found.budget.measure)} on {chosen.images} other images"
    if best.within and not chosen.kept:
        said += f", which is more than the budget ({found.budget.text})"
    elif _undecided(chosen.loss, found.budget.limit):
        said += f"; so few cannot decide the budget ({found.budget.text}) for sure"
    return said


def _told(loss: Loss, measure: str) -> str:
    """A loss of AP x100; an agreement as it is, with its interval."""
    assert loss.value is not None, "unknown losses are told otherwise"
    if measure == AP:
        bounds = formatting.interval(loss.low, loss.high)
        return f"a loss of {formatting.signed_points(loss.value)}{bounds and ' '}{bounds} AP points"
    bounds = "" if loss.low is None or loss.high is None else f" [{1 - loss.high:.2f}, {1 - loss.low:.2f}]"
    return f"agreement {formatting.score(1 - loss.value)}{bounds}"


def _undecided(loss: Loss, limit: float) -> bool:
    return loss.low is not None and loss.high is not None and loss.low <= limit < loss.high
