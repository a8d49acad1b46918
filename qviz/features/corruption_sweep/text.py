"""The finding of a sweep in a sentence."""

from __future__ import annotations

from qviz.features.corruption_sweep import RobustnessReport
from qviz.features.corruption_sweep.out_of_range import WILD, OutOfRange
from qviz.features.corruption_sweep.result import Interaction, Robustness
from qviz.formatting import interval, points


def robustness_verdict(result: Robustness, shown: dict[str, str] | None = None) -> str:
    """What quantization loses beyond FP32, or that it loses nothing more. shown: short names by name."""
    names = shown or {}
    reference = names.get(result.models[0], result.models[0]) if result.models else "the reference"
    if not result.corruptions:
        return f"{result.images} images are run clean; corruptions follow."
    sure = [row for row in result.interactions if row.significant and (row.value or 0) > 0]
    if not result.interactions:
        return f"Only {reference} is loaded: {_kept(result)}."
    if not sure:
        many = (
            "No corruption takes" if len(result.corruptions) > 1 else f"{_plain(result.corruptions[0])} does not take"
        )
        said = f"{many} surely more from a variant than from {reference}{_kept(result)}."
        return f"{said} {_frail(result, names)}".strip()
    worst = max(sure, key=lambda row: row.value or 0)
    name = names.get(worst.model, worst.model)
    rest = f", and {len(sure) - 1} more so" if len(sure) > 1 else ""
    return (
        f"{_plain(worst.corruption)} takes {_points(worst)} {_unit(result)} more from {name} than from {reference}"
        f" ({_bounds(worst)}){rest}."
    )


def _frail(result: Robustness, names: dict[str, str]) -> str:
    """A variant that breaks clearly earlier: what has little to lose loses little, so it may have no interaction."""
    first, *variants = result.summary
    broken = [row for row in variants if row.breaking_point is not None]
    worst = min(broken, key=lambda row: row.breaking_point or 0, default=None)
    if worst is None or worst.breaking_point is None:
        return ""
    if first.breaking_point is not None and worst.breaking_point > first.breaking_point - 0.5:
        return ""
    end = f"at {first.breaking_point:.1f}" if first.breaking_point is not None else "never"
    name = names.get(worst.model, worst.model)
    return (
        f"But {name} has lost half of its objects at severity {worst.breaking_point:.1f},"
        f" {names.get(first.model, first.model)} {end}."
    )


def _plain(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _unit(result: Robustness) -> str:
    return "AP points" if result.annotated else "points of agreement"


def _points(row: Interaction) -> str:
    return points(row.value or 0.0)


def _bounds(row: Interaction) -> str:
    return f"95% interval {interval(row.low, row.high)}"


def _kept(result: Robustness) -> str:
    """What the reference itself keeps."""
    first = result.summary[0]
    if first.rpc is None:
        return "; what that keeps under them is unknown"
    count = len(result.corruptions)
    return f", which keeps {first.rpc:.0%} of its {result.measure} over {count} corruption{'' if count == 1 else 's'}"


def layers_sentence(found: RobustnessReport, variant: str) -> str:
    """The first layers to saturate, or that none does."""
    known = found.saturations.get(variant)
    if known is None or not known.layers:
        return "No activation of this variant is quantized: nothing can leave its range."
    first = known.first(most=1)
    if not first:
        return (
            f"No layer clips a hundredth of its activations more than when clean (on {known.images} images): the loss"
            " does not come from ranges."
        )
    layer = first[0]
    count = len(known.first(most=len(known.layers)))
    return (
        f"Operator {layer.order} ({layer.op_kind}) leaves its range first, from severity {layer.first:g} on, by up to"
        f" {layer.rise:.1%} of its activations; {count} of {len(known.layers)} layers do so at all."
    )


def alarm_sentence(found: RobustnessReport, variant: str) -> str:
    """How many images are out of range, and how few would widen the calibration."""
    known = found.alarms.get(variant)
    if known is None:
        return "No activation of this variant is quantized: no image can leave its range."
    return range_sentence(known)


def range_sentence(known: OutOfRange) -> str:
    """The same of one alarm."""
    count = len(known.images)
    if not known.alarms:
        return f"None of {count} images drives the network far outside of its calibration."
    said = f"{len(known.alarms)} of {count} images drive the network far outside of its calibration"
    if known.typical >= WILD:
        return f"{said}, the typical one too: the calibration is at fault, not an image."
    return f"{said}; {len(known.add)} images cover {known.add[-1].covered:.0%} of what it has not seen."
