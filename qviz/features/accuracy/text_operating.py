"""Sentences on the operating point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qviz.features.accuracy.operating import Operating, OperatingLoss
from qviz.features.accuracy.operating_at import BEST
from qviz.features.accuracy.recalibration import ISOTONIC, PLATT, RECALL, THRESHOLD, UNCHANGED
from qviz.formatting import UNKNOWN, interval, points, score, share


def confidence_text(operating: Operating) -> str:
    """`a confidence of 0.43 (the reference's best F1)`."""
    if operating.threshold is None and operating.chosen == BEST:
        return "no confidence (no detection of the reference is right)"
    if operating.threshold is None:
        return "the confidence of each class"
    best = " (the reference's best F1)" if operating.chosen == BEST else ""
    return f"a confidence of {score(operating.threshold)}{best}"


def threshold_text(threshold: float | None) -> str:
    """The threshold, rounded down to three decimals so that the recall is still reached; a dash for None."""
    return UNKNOWN if threshold is None else f"{math.floor(threshold * 1000) / 1000:.3f}"


def operating_sentences(operating: Operating, names: Sequence[str] | None = None) -> list[str]:
    """One sentence per variant: the recall that it loses, the threshold that recovers it, and what this costs.

    `names` are the shown names of all models, the reference first; by default the names of the files.
    """
    shown = names or tuple(model.name for model in operating.models)
    if operating.models[0].figures.recall is None:
        return ["No object is annotated, so there is no recall."]
    return [
        _sentence(operating, shown, number) + _needed(operating.losses[number - 1], operating, shown[0], number)
        for number in range(1, len(operating.models))
    ]


METHOD_WORDS = {
    UNCHANGED: "as it is",
    THRESHOLD: "own threshold, best F1",
    RECALL: "threshold with the reference's recall",
    PLATT: "scores recalibrated (Platt)",
    ISOTONIC: "scores recalibrated (isotonic)",
}


def recovery_sentence(loss: OperatingLoss, name: str) -> str:
    """A sentence on the method that recovers most of the F1 that a variant loses.

    Empty if it loses none, or if there are too few images. name: shown name of the variant.
    """
    rows = {row.method: row for row in loss.recoveries}
    first = rows.get(UNCHANGED)
    if first is None or first.loss.value is None or first.loss.value < 5e-4:
        return ""
    opening = f"{name} loses {points(first.loss.value)} points of F1"
    best = max((row for row in rows.values() if row is not first), key=lambda row: row.recovered or 0.0)
    if (best.recovered or 0.0) < 0.05:
        return f"{opening}; neither another threshold nor recalibrated scores bring 5% of that back on other images."
    at = "" if best.threshold is None else f" of {threshold_text(best.threshold)}"
    if best.method in (THRESHOLD, RECALL):
        how = f"a threshold{at} brings"
    else:
        fit = "Platt's fit" if best.method == PLATT else "isotonic fit"
        how = f"recalibrating its scores ({fit}{at and f', a threshold{at}'}) brings"
    return f"{opening}; {how} {share(best.recovered)} of that back, measured on other images."


def _sentence(operating: Operating, names: Sequence[str], number: int) -> str:
    reference, variant = operating.models[0].figures, operating.models[number].figures
    loss = operating.losses[number - 1].overall.recall
    more_or_fewer = "fewer" if (loss.value or 0.0) > 0 else "more"
    change = f"{points(abs(loss.value))} points {more_or_fewer}" if loss.value else "the same"
    bounds = interval(loss.low, loss.high)
    certainty = "" if not bounds else f" (loss {bounds}, {'significant' if loss.significant else 'not significant'})"
    return (
        f"At {confidence_text(operating)}, {names[number]} finds {points(variant.recall)}% of the objects,"
        f" {names[0]} {points(reference.recall)}%: {change}{certainty}. False positives per image:"
        f" {variant.false_positives_per_image:.2f}, against {reference.false_positives_per_image:.2f}."
    )


def _needed(loss: OperatingLoss, operating: Operating, reference: str, number: int) -> str:
    if not loss.overall.recall.value or loss.overall.recall.value <= 0:
        return ""
    needed, present = loss.overall.needed, operating.models[number].figures.false_positives_per_image
    if needed.threshold is None or needed.false_positives_per_image is None:
        return f" No threshold brings back the recall of {reference}."
    return (
        f" A threshold of {threshold_text(needed.threshold)} brings back that recall, with"
        f" {needed.false_positives_per_image:.2f} false positives per image"
        f" ({needed.false_positives_per_image - present:+.2f})."
    )
