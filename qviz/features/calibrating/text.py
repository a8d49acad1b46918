"""The lab's findings in sentences, for the page and the command line alike."""

from __future__ import annotations

from collections.abc import Iterator

from qviz import formatting
from qviz.features.calibrating.result import CalibrationLab, CurvePoint, Tried
from qviz.structures import Loss

TITLES = {
    "all": "all images",
    "noise_unit": "random numbers in [0, 1)",
    "noise_range": "random numbers, whole range",
    "wrong_normalisation": "wrong normalisation",
    "not_normalised": "not normalised",
    "wrong_resize": "wrong resize",
    "wrong_channels": "channels swapped",
    "dark_only": "darkest images only",
    "bright_only": "brightest images only",
    "underexposed": "three stops darker",
    "overexposed": "two stops brighter",
    "one_class": "one class only",
    "one_image": "views of one image",
    "without_outliers": "without outliers",
    "minmax": "min-max ranges",
    "moving_average": "moving-average ranges",
    "percentile": "percentile ranges",
}
"""For people; a draw of the curve is called as it is."""
NAMED = 3
CLOSE = 0.005
"""Of the value: what is lost less than this is not worth another image."""


def title(tried: Tried) -> str:
    """What it is called in a chart."""
    return TITLES.get(tried.name, tried.name)


def lab_verdict(lab: CalibrationLab) -> str:
    """What calibrating on all images costs, and from how many on it costs no more."""
    whole = lab.all_images
    if whole is None:
        return f"Trying calibrations on 1 to {lab.images} images …"
    if whole.refused:
        return f"Calibrated on all {lab.images} images the file could not be built: {whole.refused}"
    said = f"Calibrated on all {lab.images} images, {_costs(whole.loss, lab.recipe, lab.measure)}"
    enough = enough_images(lab)
    if enough is None:
        return f"{said}."
    if enough.images == lab.images:
        return f"{said}; fewer lose more, so more images may help."
    few = "1 image already does" if enough.images == 1 else f"{enough.images} images already do"
    return f"{said}; {few} as well."


def enough_images(lab: CalibrationLab) -> CurvePoint | None:
    """The fewest images from which on the mean of the draws loses nothing that is sure and more than `CLOSE`."""
    if lab.all_images is None or lab.all_images.refused or len(lab.curve) < 2:
        return None
    found = None
    for point in reversed(lab.curve):
        if _sure_and_large(point.extra) or any(row.refused for row in point.tried):
            break
        found = point
    return found


def _sure_and_large(extra: Loss) -> bool:
    return bool(extra.significant) and (extra.value or 0.0) > CLOSE


def stability_sentence(lab: CalibrationLab) -> str:
    """Whether halves of the images agree on the ranges."""
    found = lab.stability
    if found is None:
        return "One image says nothing of stability."
    limit = f"{found.limit:.0%}"
    if not found.too_few:
        return (
            f"Two halves of {_images(found.images)} show the same ranges: none of {found.layers} layers changes by more"
            f" than {limit}."
        )
    names = ", ".join(f"{row.op_kind} {row.order} ({row.change:.0%})" for row in found.changed[:NAMED])
    more = f" and {len(found.changed) - NAMED} more" if len(found.changed) > NAMED else ""
    whose = "its range changes" if len(found.changed) == 1 else "their ranges change"
    return (
        f"Too few images for {len(found.changed)} of {found.layers} layers: between two halves of"
        f" {_images(found.images)} {whose} by more than {limit}: {names}{more}."
    )


def mismatch_sentence(lab: CalibrationLab) -> str:
    """The mistakes that cost something for sure, the worst first."""
    if not lab.mismatch:
        return ""
    wrong = sorted((row for row in lab.mismatch if not row.refused), key=lambda row: -(row.extra.value or 0.0))
    grave = [row for row in wrong if row.extra.significant and (row.extra.value or 0.0) > 0]
    if not grave:
        return "None of the mistakes costs anything that could be told from chance here."
    told = ", ".join(f"{title(row)} {formatting.signed_points(row.extra.value)}" for row in grave)
    harmless = len(wrong) - len(grave)
    others = "1 other costs" if harmless == 1 else f"{harmless} others cost"
    rest = f" {others} nothing that could be told from chance." if harmless else ""
    return f"Lost beyond a matching calibration, in points of {lab.measure}: {told}.{rest}"


def outlier_sentence(lab: CalibrationLab) -> str:
    """Which images set ranges alone, and what leaving them out brings."""
    if not lab.outliers:
        return ""
    names = ", ".join(row.image for row in lab.outliers[:NAMED])
    first = lab.outliers[0]
    said = (
        f"{names} widen the ranges most; {first.image} alone widens {first.layers} layers, one of them"
        f" {first.times:.2f} times."
    )
    left = lab.without_outliers
    if left is None or left.refused or left.extra.value is None:
        return said
    change = f"{formatting.signed_points(-left.extra.value)} points of {lab.measure}"
    sure = "" if left.extra.significant else ", which may be chance"
    return f"{said} Calibrated {left.told}: {change}{sure}."


def add_sentence(lab: CalibrationLab) -> str:
    """Which of the judged images would widen the ranges to what is met there."""
    if not lab.add:
        return ""
    names = ", ".join(row.image for row in lab.add)
    return f"To calibrate with next: {names}; they cover {lab.add[-1].covered:.0%} of what is out of range there."


def sentences(lab: CalibrationLab) -> Iterator[str]:
    """All but the verdict."""
    said = (stability_sentence(lab), mismatch_sentence(lab), outlier_sentence(lab), add_sentence(lab))
    yield from filter(None, said)


def _costs(loss: Loss, recipe: str, measure: str) -> str:
    if loss.value is None:
        return f"{recipe} cannot be judged"
    if not loss.significant:
        value = formatting.signed_points(loss.value)
        return f"{recipe} loses nothing that is sure: {value} points of {measure}{_bracket(loss)}"
    return f"{recipe} loses {formatting.points(loss.value)} points of {measure}{_bracket(loss)}"


def _bracket(loss: Loss) -> str:
    found = formatting.interval(loss.low, loss.high)
    return f" {found}" if found else ""


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"
