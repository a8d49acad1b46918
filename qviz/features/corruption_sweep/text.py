"""The finding of a sweep in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

from qviz.features.corruption_sweep import RobustnessReport
from qviz.features.corruption_sweep.out_of_range import ALARM_SCORE, OutOfRange
from qviz.features.corruption_sweep.result import Interaction, Robustness
from qviz.features.corruption_sweep.saturation import MIN_RISE, Explanation
from qviz.features.inspection.text import headline
from qviz.formatting import interval, plural, points

NO_RANGES = "No activation of this variant is quantized, so nothing can leave its range."


def corruption_title(name: str) -> str:
    """`exposure_down` -> `Exposure down`."""
    return name.replace("_", " ").capitalize()


def verdict(result: Robustness | RobustnessReport, names: Mapping[str, str] | None = None) -> str:
    """What quantization loses beyond the reference's own loss. names: short names by model name."""
    sweep = result.sweep if isinstance(result, RobustnessReport) else result
    return headline(sweep.warnings, _finding(sweep, names))


def _finding(sweep: Robustness, names: Mapping[str, str] | None) -> str:
    shown = {model: (names or {}).get(model, model) for model in sweep.models}
    if not sweep.corruptions:
        return f"{plural(sweep.images, 'image')} measured without corruption; the corruptions follow."
    reference = shown[sweep.models[0]]
    if not sweep.interactions:
        return f"Only {reference} is loaded. {_robustness_of(sweep, reference)}"
    significant = [row for row in sweep.interactions if row.significant and (row.value or 0) > 0]
    if not significant:
        under = "any corruption" if len(sweep.corruptions) > 1 else corruption_title(sweep.corruptions[0]).lower()
        sentence = f"No variant loses significantly more than {reference} under {under}."
        return " ".join(filter(None, (sentence, _robustness_of(sweep, reference), _early_break(sweep, shown))))
    worst = max(significant, key=lambda row: row.value or 0)
    return _worst(sweep, worst, shown, len(significant) - 1)


def _worst(sweep: Robustness, worst: Interaction, shown: Mapping[str, str], others: int) -> str:
    unit = "AP points" if sweep.annotated else "points of agreement"
    also = f" {plural(others, 'other loss')} under corruption {'is' if others == 1 else 'are'} significant too."
    return (
        f"{corruption_title(worst.corruption)} costs {shown[worst.model]} {points(worst.value)} {unit} more than"
        f" {shown[sweep.models[0]]} (95% interval {interval(worst.low, worst.high)}).{also if others else ''}"
    )


def _robustness_of(sweep: Robustness, reference: str) -> str:
    """What the reference itself loses."""
    summary = sweep.summary[0]
    if summary.rpc is None:
        return f"How much {reference} itself loses is unknown."
    count = plural(len(sweep.corruptions), "corruption")
    return f"{reference} keeps {summary.rpc:.0%} of its {sweep.measure} over {count}."


def _early_break(sweep: Robustness, shown: Mapping[str, str]) -> str:
    """A variant that breaks clearly earlier than the reference. One with little to lose may have no interaction."""
    reference, *variants = sweep.summary
    broken = {row.model: row.breaking_point for row in variants if row.breaking_point is not None}
    if not broken:
        return ""
    model, severity = min(broken.items(), key=lambda item: item[1])
    limit = reference.breaking_point
    if limit is not None and severity > limit - 0.5:
        return ""
    reference_limit = f"at {limit:.1f}" if limit is not None else "at none of them"
    lost = f"has lost half of its objects at severity {severity:.1f}"
    return f"However, {shown[model]} {lost}, {shown[reference.model]} {reference_limit}."


def layers_sentence(result: RobustnessReport, variant: str) -> str:
    """Which layer leaves its range first, and how many do."""
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
        f" to {first.rise:.1%} more of its activations. {len(layers)} of {len(saturation.layers)} layers leave their"
        " range."
    )


def alarm_sentence(result: OutOfRange | None) -> str:
    """How many images are out of range, and how few would widen the calibration. None: nothing is quantized."""
    if result is None:
        return NO_RANGES
    count, alarms = plural(len(result.images), "image"), len(result.alarms)
    if not alarms:
        return f"None of {count} drives the network far outside its calibrated ranges."
    drive = f"{alarms} of {count} {'drives' if alarms == 1 else 'drive'} the network far outside its calibrated ranges"
    if result.typical >= ALARM_SCORE:
        return f"{drive}. The typical image does too, so the calibration is at fault, not single images."
    added = plural(len(result.add), "image")
    return f"{drive}. Calibrating with {added} more covers {result.add[-1].covered:.0%} of the excess."


def explanation_sentence(result: Explanation) -> str:
    """How much of the loss the saturated layers explain."""
    name, severity = corruption_title(result.corruption.name).lower(), f"{result.corruption.amount:g}"
    under = f"Under {name} at severity {severity} the agreement with the reference is {result.base:.2f}"
    if result.explained is None:
        return f"{under}; nothing is lost."
    return (
        f"{under}. With {plural(result.layers, 'saturated layer')} and their readers"
        f" ({plural(result.operators, 'operator')}) in float it is {result.agreement:.2f}: they explain"
        f" {max(0.0, result.explained):.0%} of the loss."
    )
