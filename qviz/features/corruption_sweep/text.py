"""The findings of a sweep in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from qviz.features.corruption_sweep import RobustnessReport
from qviz.features.corruption_sweep.out_of_range import ALARM_SCORE, NO_RANGES, OutOfRange
from qviz.features.corruption_sweep.result import CLEAN, Breaking, Interaction, Point, Robustness
from qviz.features.corruption_sweep.saturation import MIN_RISE, Explanation
from qviz.features.inspection.text import headline
from qviz.formatting import interval, listed, plural, points, share, small_share

MAX_NOTHING, MIN_SOMETHING = 0.05, 0.2
"""A variant that still finds at most MAX_NOTHING of its own clean objects finds next to nothing. The reference still
finds objects if it finds more than MIN_SOMETHING of its own."""
MIN_EARLIER = 0.5
"""A variant breaks clearly earlier if its breaking point is at least this many severities below the reference's."""
MAX_FAILING, MAX_LIGHTS = 2, 4
"""Maximum number of failing variants that are named, and of corruptions that are named for one variant."""


def corruption_title(name: str) -> str:
    """The name of a corruption as a title, e.g. `Exposure down` for `exposure_down`."""
    return name.replace("_", " ").capitalize()


def verdict(result: Robustness | RobustnessReport, names: Mapping[str, str] | None = None) -> str:
    """What quantization loses in addition to the reference's own loss. `names` maps model names to short names."""
    sweep = result.sweep if isinstance(result, RobustnessReport) else result
    return headline(sweep.warnings, _finding(sweep, names))


def _finding(sweep: Robustness, names: Mapping[str, str] | None) -> str:
    """Sentences on the variants that fail, then on the loss that quantization adds."""
    shown = {model: (names or {}).get(model, model) for model in sweep.models}
    if not sweep.corruptions:
        return f"{plural(sweep.images, 'image')} measured without corruption; the corruptions follow."
    reference = shown[sweep.models[0]]
    if not sweep.interactions:
        return f"Only {reference} is loaded. {_robustness_of(sweep, reference)}"
    failures = _failures(sweep, shown)
    significant = [row for row in sweep.interactions if row.significant and (row.value or 0) > 0]
    if significant:
        worst = max(significant, key=lambda row: row.value or 0)
        return " ".join((*failures, _worst(sweep, worst, shown, len(significant) - 1)))
    under = "any corruption" if len(sweep.corruptions) > 1 else corruption_title(sweep.corruptions[0]).lower()
    sentence = f"No variant loses significantly more than {reference} under {under}."
    return " ".join((*failures, sentence, _robustness_of(sweep, reference)))


def _failures(sweep: Robustness, shown: Mapping[str, str]) -> list[str]:
    """One sentence per variant that fails under a corruption where the reference does not, the earliest first."""
    rows = []
    for model in sweep.models[1:]:
        clean = sweep.curve(model, CLEAN)[0]
        if clean.still_found is None and clean.mean_score is not None:  # only the reference finds objects
            rows.append((0.0, f"{shown[model]} finds nothing even without corruption."))
        elif failing := _finds_nothing(sweep, model):
            rows.append((failing[0].severity, _nothing_sentence(sweep, failing, shown)))
        elif halved := _halved(sweep, model):
            rows.append((halved[0].severity or 0.0, _halved_sentence(sweep, halved, shown)))
    rows.sort(key=lambda row: row[0])
    sentences = [sentence for _, sentence in rows[:MAX_FAILING]]
    if more := len(rows) - len(sentences):
        sentences.append(f"{plural(more, 'other variant')} {'fails' if more == 1 else 'fail'} early too.")
    return sentences


def _finds_nothing(sweep: Robustness, model: str) -> list[Point]:
    """The point per corruption from which on a model finds next to nothing while the reference still finds objects.

    Sorted by severity; corruptions without such a point are left out.
    """
    first: list[Point] = []
    for name in sweep.corruptions:
        start: Point | None = None
        for point, other in zip(sweep.curve(model, name), sweep.curve(sweep.models[0], name), strict=True):
            left = point.still_found
            if left is None or left > MAX_NOTHING:
                start = None
            elif start is None and point.severity and (other.still_found or 0.0) > MIN_SOMETHING:
                start = point
        if start is not None:
            first.append(start)
    return sorted(first, key=lambda point: point.severity)


def _nothing_sentence(sweep: Robustness, failing: Sequence[Point], shown: Mapping[str, str]) -> str:
    """`At night int8 finds nothing from severity 1 on, under glare from 3 on; float32 still finds 81% there.`"""
    first = failing[0]
    reference = next(row for row in sweep.curve(sweep.models[0], first.corruption) if row.severity == first.severity)
    left = first.still_found or 0.0
    amount = "nothing" if left == 0 else f"next to nothing ({small_share(left)} of its objects)"
    others = [f"{light(point.corruption)} from {point.severity} on" for point in failing[1:]]
    also = f", {listed(others, MAX_LIGHTS)}" if others else ""
    return (
        f"{_upper(light(first.corruption))} {shown[first.model]} finds {amount} from severity"
        f" {first.severity} on{_half_gone(sweep, first)}{also}."
        f" {shown[sweep.models[0]]} still finds {share(reference.still_found)} of its own"
        f" {light(first.corruption)} at severity {first.severity}."
    )


def _half_gone(sweep: Robustness, point: Point) -> str:
    """E.g. ` (half of its objects are gone at 0.6)`, if that severity is clearly lower than the point's; else empty."""
    rows = (
        row.severity for row in sweep.breaking_points if (row.model, row.corruption) == (point.model, point.corruption)
    )
    half = next(rows, None)
    if half is None or half > point.severity - 1:
        return ""
    return f" (half of its objects are gone at {half:.1f})"


def _halved(sweep: Robustness, model: str) -> list[Breaking]:
    """The corruptions under which a model loses half of its objects clearly before the reference, earliest first."""
    limits = {row.corruption: row.severity for row in sweep.breaking_points if row.model == sweep.models[0]}
    early = [
        row
        for row in sweep.breaking_points
        if row.model == model
        and row.severity is not None
        and row.severity <= (limits[row.corruption] or math.inf) - MIN_EARLIER
    ]
    return sorted(early, key=lambda row: row.severity or 0.0)


def _halved_sentence(sweep: Robustness, rows: Sequence[Breaking], shown: Mapping[str, str]) -> str:
    """`At night int8 has lost half of its objects at severity 0.6, float32 at 2.5.`"""
    first, reference = rows[0], sweep.models[0]
    limit = next(
        row.severity for row in sweep.breaking_points if (row.model, row.corruption) == (reference, first.corruption)
    )
    other = f"at {limit:.1f}" if limit is not None else "at no severity"
    more = len(rows) - 1
    also = f" The same happens under {plural(more, 'other corruption')}." if more else ""
    return (
        f"{_upper(light(first.corruption))} {shown[first.model]} has lost half of its objects at severity"
        f" {first.severity:.1f}, {shown[reference]} {other}.{also}"
    )


def light(corruption: str) -> str:
    """A corruption as an adverbial, e.g. `at night` or `under exposure down`."""
    return "at night" if corruption == "night" else f"under {corruption_title(corruption).lower()}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _worst(sweep: Robustness, worst: Interaction, shown: Mapping[str, str], others: int) -> str:
    unit = "AP points" if sweep.annotated else "points of agreement"
    also = f" {plural(others, 'other loss')} under corruption {'is' if others == 1 else 'are'} significant too."
    return (
        f"{corruption_title(worst.corruption)} costs {shown[worst.model]} {points(worst.value)} {unit} more than"
        f" {shown[sweep.models[0]]} (95% interval {interval(worst.low, worst.high)}).{also if others else ''}"
    )


def _robustness_of(sweep: Robustness, reference: str) -> str:
    """A sentence on how much of its value the reference itself keeps."""
    summary = sweep.summary[0]
    if summary.rpc is None:
        return f"How much {reference} itself loses is unknown."
    count = plural(len(sweep.corruptions), "corruption")
    return f"{reference} keeps {summary.rpc:.0%} of its {sweep.measure} over {count}."


def layers_sentence(result: RobustnessReport, variant: str) -> str:
    """A sentence on the first layer that exceeds its range and the number of such layers."""
    saturation = result.saturations.get(variant)
    if saturation is None or not saturation.layers:
        return NO_RANGES
    layers = saturation.first_layers(len(saturation.layers))
    if not layers:
        return (
            f"No layer clips {MIN_RISE:.0%} more of its activations under a corruption than without (measured on"
            f" {plural(saturation.images, 'image')}), so the loss does not come from ranges."
        )
    first = layers[0]
    return (
        f"Operator {first.op_index} ({first.op_type}) leaves its range first: from severity {first.first:g} it clips up"
        f" to {first.rise:.1%} more of its activations. {len(layers)} of {len(saturation.layers)} layers"
        f" {'leaves its' if len(layers) == 1 else 'leave their'} range."
    )


def alarm_sentence(result: OutOfRange | None) -> str:
    """A sentence on how many images are out of range, and how many of them to add to the calibration.

    result: None if the variant has no calibrated ranges.
    """
    if result is None:
        return NO_RANGES
    count, alarms = plural(len(result.images), "image"), len(result.alarms)
    if not alarms:
        return f"None of {count} drives the network far outside its calibrated ranges."
    drive = f"{alarms} of {count} {'drives' if alarms == 1 else 'drive'} the network far outside its calibrated ranges"
    if result.typical >= ALARM_SCORE:
        return f"{drive}. The typical image does too, so the calibration is at fault, not single images."
    added = plural(len(result.add), "image")
    return f"{drive}. Adding {added} to the calibration covers {result.add[-1].covered:.0%} of the excess."


def explanation_sentence(result: Explanation) -> str:
    """A sentence on the share of the loss that the saturated layers explain."""
    name, severity = corruption_title(result.corruption.name).lower(), f"{result.corruption.amount:g}"
    if result.base is None or result.agreement is None:
        return f"Under {name} at severity {severity} neither model finds an object, so nothing can be explained."
    under = f"Under {name} at severity {severity} the agreement with the reference is {result.base:.2f}"
    if result.explained is None:
        return f"{under}; nothing is lost."
    return (
        f"{under}. With {plural(result.layers, 'saturated layer')} and the operators that read them"
        f" ({plural(result.operators, 'operator')}) in float it is {result.agreement:.2f}: they explain"
        f" {max(0.0, result.explained):.0%} of the loss."
    )
