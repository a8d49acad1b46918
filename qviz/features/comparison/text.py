"""The finding in one sentence: what the reader should know before any chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qviz.features.accuracy.ap import ClassLoss, VariantLoss
from qviz.features.comparison.matching import Summary
from qviz.features.layer_error import CLIPPED, LayerErrors
from qviz.formatting import interval, points
from qviz.structures import Loss

LEVELS = ((0.98, "unchanged"), (0.85, "slightly changed"), (0.6, "damaged"), (0.0, "broken"))
"""From this agreement on, a variant counts as ..."""
HURT = LEVELS[1][0]
"""Below this agreement a variant is damaged."""
NAMED = 2
"""Hurt variants that are named beside the worst."""


def level(agreement: float) -> str:
    """The word for an agreement in [0, 1]."""
    return next(word for least, word in LEVELS if agreement >= least)


def damage_verdict(reference: str, summaries: Mapping[str, Summary], images: int) -> str:
    """What became of the reference's objects, the worst variant first."""
    if not summaries:
        return f"{reference} stands alone: add a quantized variant of it to compare."
    if not images:
        return "No image has been run yet."
    ranked = sorted(summaries.items(), key=lambda item: item[1].agreement)
    (name, worst), others = ranked[0], ranked[1:]
    if nothing_seen(worst):
        return f"Neither {reference} nor a variant finds an object at this confidence: lower it, or take other images."
    said = f"{name} is {level(worst.agreement)}: {_counts(worst)} (agreement {worst.agreement:.2f})."
    return said + _others(reference, others)


def _others(reference: str, ranked: Sequence[tuple[str, Summary]]) -> str:
    """Those that are hurt as well by name, the first few; of the rest how well they agree."""
    hurt = [(name, summary) for name, summary in ranked if summary.agreement < HURT]
    told = [f" {name} is {level(summary.agreement)} ({summary.agreement:.2f})." for name, summary in hurt[:NAMED]]
    if more := len(hurt) - len(told):
        told.append(f" {more} more {'is' if more == 1 else 'are'} hurt.")
    rest = ranked[len(hurt) :]
    if len(rest) == 1:
        told.append(f" The other agrees with {reference} by {rest[0][1].agreement:.2f}.")
    elif rest:
        told.append(f" The other {len(rest)} agree with {reference} by {rest[0][1].agreement:.2f} or more.")
    return "".join(told)


def nothing_seen(summary: Summary) -> bool:
    """Whether there is no object on either side, so that agreement says nothing."""
    return summary.kept + summary.shifted + summary.relabelled + summary.lost + summary.spurious == 0


def image_verdict(variant: str, summary: Summary) -> str:
    """What one variant did to one image."""
    if nothing_seen(summary):
        return f"no object: neither the reference nor {variant} finds one."
    return f"{variant}: {_counts(summary)} (agreement {summary.agreement:.2f})."


def _counts(summary: Summary) -> str:
    total = summary.kept + summary.shifted + summary.relabelled + summary.lost
    if total == 0:
        return f"the reference finds nothing where it shows {_objects(summary.spurious)}"
    parts = [
        f"{count} {word}"
        for count, word in (
            (summary.lost, "lost"),
            (summary.relabelled, "relabelled"),
            (summary.shifted, "shifted"),
        )
        if count
    ]
    extra = f", and {summary.spurious} spurious" if summary.spurious else ""
    if not parts:
        return ("its object is kept" if total == 1 else f"all {total} objects are kept") + extra
    return f"of {_objects(total)} {', '.join(parts)}{extra}"


def _objects(count: int) -> str:
    return f"{count} object" if count == 1 else f"{count} objects"


def layers_verdict(results: Mapping[str, LayerErrors]) -> str:
    """Where the worst variant loses most, by the fall of its cumulative SQNR or by what its quantizers clip."""
    ends = {name: end for name, errors in results.items() if (end := _end(errors)) is not None}
    if not ends:
        return "No layer differs from the reference."
    name = min(ends, key=lambda key: ends[key])
    layers = results[name].layers
    said = f"{name} ends at {ends[name]:.0f} dB"
    clipped = max(layers, key=lambda layer: layer.clipped_share or 0.0)
    if (clipped.clipped_share or 0.0) > CLIPPED:
        place = "the input quantizer" if clipped.order == layers[0].order else f"operator {clipped.order}"
        clips = f"clips {clipped.clipped_share:.0%} of its values{over_images(results[name])}"
        return f"{said}; {place} ({clipped.op_kind}) {clips}."
    steepest = max(layers, key=lambda layer: layer.fall_db or 0.0)
    if not steepest.fall_db:
        return said + "."
    return f"{said}; it falls most, by {steepest.fall_db:.0f} dB, at operator {steepest.order} ({steepest.op_kind})."


def over_images(errors: LayerErrors) -> str:
    """Other images, other shares: what a share was counted on."""
    return f" on {errors.images} image{'' if errors.images == 1 else 's'}"


def _end(errors: LayerErrors) -> float | None:
    """The cumulative SQNR of the last layer that differs."""
    known = [layer.cumulative_sqnr_db for layer in errors.layers if layer.cumulative_sqnr_db is not None]
    return known[-1] if known else None


def loss_verdict(
    reference: str, ap: float | None, losses: Mapping[str, VariantLoss], reference_as_truth: bool = False
) -> str:
    """The AP of the reference and the losses, the largest first, with their intervals (x100)."""
    if ap is None or not losses:
        return "Annotated images and at least one variant are needed to tell a loss."
    ranked = sorted(losses.items(), key=lambda item: -(item[1].ap.value or 0.0))
    (name, worst), others = ranked[0], ranked[1:]
    opening = f"Against {reference}'s own detections" if reference_as_truth else f"{reference} reaches {points(ap)} AP"
    if (worst.ap.value or 0.0) <= NOTHING:
        return f"{opening}{', ' if reference_as_truth else '; '}no variant loses AP."
    said = f"{opening}{', ' if reference_as_truth else '; '}{name} loses {_amount(worst.ap)}"
    top = _class_to_name(worst)
    if top is not None:
        said += f", most in {top.label} ({points(top.loss.value)})"
    return f"{said}.{_other_losses(others)}"


def _class_to_name(loss: VariantLoss) -> ClassLoss | None:
    """The worst class that is no chance: a class of one object is nearly always the worst."""
    sure = loss.ap.low is None  # too few images for any interval
    return next((row for row in loss.per_class if (row.loss.value or 0) > 0 and (sure or row.loss.significant)), None)


NOTHING = 5e-4
"""AP that rounds to no tenth of a point."""


def _amount(loss: Loss) -> str:
    """10.0 AP points [4.0, 16.0], significant"""
    said = f"{points(loss.value or 0.0)} AP points"
    if loss.low is None or loss.high is None:
        return said
    sure = "significant" if loss.significant else "not significant"
    return f"{said} {interval(loss.low, loss.high)}, {sure}"


def _other_losses(others: Sequence[tuple[str, VariantLoss]]) -> str:
    """One more is told like the first; of several only what is significant, and the largest of the rest."""
    if len(others) == 1:
        ((name, loss),) = others
        return f" {name} loses {_amount(loss.ap)}." if (loss.ap.value or 0.0) > NOTHING else f" {name} loses none."
    sure = [(name, loss) for name, loss in others if loss.ap.significant and (loss.ap.value or 0.0) > NOTHING]
    rest = [loss.ap.value or 0.0 for name, loss in others if (name, loss) not in sure]
    said = "".join(f" {name} loses {_amount(loss.ap)}." for name, loss in sure)
    if not rest:
        return said
    who = "The other" if len(rest) == 1 else f"The other {len(rest)}"
    verb = "loses" if len(rest) == 1 else "lose"
    if max(rest) <= NOTHING:
        return f"{said} {who} {verb} none."
    return f"{said} {who} {verb} at most {points(max(rest))}, not significant."
