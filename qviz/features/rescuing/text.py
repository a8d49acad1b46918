"""Sentences on the result of a rescue: the best candidate, its loss on the report half, and its size or speed."""

from __future__ import annotations

from qviz import formatting
from qviz.detector import PAGE_SCORE
from qviz.features.accuracy.evaluator import is_flood
from qviz.features.rescuing.result import AP, LATENCY, SIZE, Rescue, Tried
from qviz.formatting import plural
from qviz.structures import Loss


def verdict(result: Rescue) -> str:
    """A few sentences on the result. While the search runs, they are about the best candidate so far."""
    best = result.best
    if best is None:
        return "Nothing has been measured yet."
    if not best.within:
        where, closest = _on_search_images(result), _closest(best, result)
        budget = f"the budget ({result.budget.text}){where}"
        opening = f"No candidate is within {budget}; {closest} is {best.candidate.name}"
        if any(row.within for row in result.tried):
            opening = f"The file with the best quality, {best.candidate.name}, exceeds {budget}"
    elif result.chosen is None or result.within_budget:
        opening = f"{best.candidate.name} is within the budget"
    else:
        opening = f"{best.candidate.name} is within the budget on {plural(result.images.search, 'search image')}"
    return f"{opening}: {_gain(best, result)}, {_loss(result, best)}."


def _on_search_images(result: Rescue) -> str:
    """Where the budget is not kept: ` on 80 search images, where the chosen file has a loss of +0.7 [-0.2, 1.9] ...`"""
    loss = None if result.chosen is None else result.chosen.loss_on_search
    if loss is None or loss.value is None:
        return ""
    images = plural(result.images.search, "search image")
    return f" on {images}, where the chosen file has {_loss_text(loss, result.budget.measure)}"


def _closest(best: Tried, result: Rescue) -> str:
    if result.budget.limits_files and result.prefer == SIZE:
        return "the one with the best quality"
    losses = [row.search_loss for row in result.tried if row.search_loss is not None and row.floods == best.floods]
    is_closest = best.search_loss is None or best.search_loss <= min(losses, default=0.0)
    return "the closest" if is_closest else "the smallest of the closest"


def _gain(row: Tried, result: Rescue) -> str:
    """`1.24 MB, 33% of the reference, 2.1 times as fast`"""
    text = f"{formatting.megabytes(row.bytes)}, {row.bytes / max(result.reference.bytes, 1):.0%} of the reference"
    if result.prefer == LATENCY and row.speed is not None:
        text += f", {row.speed:.2g} times as fast"
    return text


def _loss(result: Rescue, best: Tried) -> str:
    chosen = result.chosen
    if chosen is None or chosen.loss.value is None:
        if best.search_loss is None:
            return "its loss is unknown"
        loss = _loss_text(Loss(best.search_loss), result.budget.measure)
        return f"{loss}{_also(best.agreement, best, result)} on {plural(result.images.search, 'search image')}"
    also = _also(chosen.agreement, best, result)
    text = f"{_loss_text(chosen.loss, result.budget.measure)}{also} on {plural(chosen.images, 'other image')}"
    if _floods(result):
        text += (
            f", with {chosen.false_alarms:.1f} false alarms per image at a confidence of {PAGE_SCORE:g}, where the"
            f" reference has {chosen.reference_false_alarms:.1f}"
        )
    elif best.within and not chosen.within_budget:
        text += f", which exceeds the budget ({result.budget.text})"
    elif _is_undecided(chosen.loss, result.budget.limit):
        text += f"; the interval includes losses above the budget ({result.budget.text}), so use more images to be sure"
    return text


def _also(agreement: float | None, best: Tried, result: Rescue) -> str:
    """What the budget's measure misses: the agreement if the budget is in AP, and whether false alarms flood images."""
    if result.budget.measure != AP or agreement is None:
        return ""
    flood = f", {best.false_alarms:.1f} false alarms per image" if best.floods and result.chosen is None else ""
    return f", agreement {formatting.score(agreement)}{flood}"


def _floods(result: Rescue) -> bool:
    """Whether the best candidate has far more false alarms than the reference on the report half."""
    chosen = result.chosen
    if chosen is None or chosen.false_alarms is None or chosen.reference_false_alarms is None:
        return False
    return is_flood(chosen.reference_false_alarms, chosen.false_alarms)


def _loss_text(loss: Loss, measure: str) -> str:
    """`a loss of +0.4 [-0.2, 1.0] AP points` or `agreement 0.93 [0.90, 0.96]`"""
    assert loss.value is not None, "only known losses are written"
    if measure == AP:
        bounds = formatting.interval(loss.low, loss.high)
        return f"a loss of {formatting.signed_points(loss.value)}{bounds and ' '}{bounds} AP points"
    bounds = "" if loss.low is None or loss.high is None else f" [{1 - loss.high:.2f}, {1 - loss.low:.2f}]"
    return f"agreement {formatting.score(1 - loss.value)}{bounds}"


def _is_undecided(loss: Loss, limit: float) -> bool:
    return loss.low is not None and loss.high is not None and loss.low <= limit < loss.high
