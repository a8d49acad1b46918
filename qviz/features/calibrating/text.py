"""The lab's findings in sentences, for both the page and the command line."""

from __future__ import annotations

from collections.abc import Iterator

from qviz import formatting
from qviz.features.calibrating.result import CalibrationLab, CurvePoint, Tried
from qviz.formatting import listed, plural
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
    "mean": "mean-of-images ranges",
    "minmax": "min-max ranges",
    "moving_average": "moving-average ranges",
    "percentile": "percentile ranges",
}
"""Name of a calibration -> its title. A draw of the curve is not listed: its name serves as its title."""
NAMED = 3
NEGLIGIBLE = 0.005
"""A loss of AP or agreement below this is not relevant: it does not justify more calibration images."""


def title(tried: Tried) -> str:
    """The label of a calibration in charts and tables."""
    return TITLES.get(tried.name, tried.name)


def verdict(lab: CalibrationLab) -> str:
    """Sentences on the loss with a calibration on all images, and on how many images are enough."""
    images = plural(lab.images, "image")
    whole = lab.all_images
    if whole is None:
        return f"Trying calibrations on 1 to {images} …"
    calibrated = f"Calibrated on {'all ' if lab.images > 1 else ''}{images}"
    if whole.refused:
        return f"{calibrated}, the file could not be built: {whole.refused}"
    sentence = f"{calibrated}, {_cost(whole.loss, lab.recipe, lab.measure)}"
    enough = enough_images(lab)
    if enough is None:
        return f"{sentence}."
    if enough.images == lab.images:
        return f"{sentence}. Fewer images lose more, so more images may help."
    return f"{sentence}. {plural(enough.images, 'image')} would be enough."


def enough_images(lab: CalibrationLab) -> CurvePoint | None:
    """The smallest number of images that is enough, or None if no number is.

    A number is enough if neither it nor any larger number has a relevant loss. A loss is relevant if the mean over the
    draws is significant and larger than `NEGLIGIBLE`.
    """
    if lab.all_images is None or lab.all_images.refused or len(lab.curve) < 2:
        return None
    enough = None
    for point in reversed(lab.curve):
        loses = bool(point.extra.significant) and (point.extra.value or 0.0) > NEGLIGIBLE
        if loses or any(row.refused for row in point.tried):
            break
        enough = point
    return enough


def stability_sentence(lab: CalibrationLab) -> str:
    """A sentence on whether two halves of the images give the same ranges."""
    stable = lab.stability
    if stable is None:
        return "One image cannot show whether the ranges are stable."
    limit, half = f"{stable.limit:.0%}", plural(stable.images, "image")
    if not stable.too_few:
        return (
            f"Two halves of {half} give the same ranges: none of {stable.layers} layers changes by more than {limit}."
        )
    names = listed([f"{row.op_type} {row.op_index} ({row.change:.0%})" for row in stable.changed], NAMED)
    ranges = "its range changes" if len(stable.changed) == 1 else "their ranges change"
    return (
        f"Too few images for {len(stable.changed)} of {stable.layers} layers: between two halves of {half} {ranges} by"
        f" more than {limit}: {names}."
    )


def mismatch_sentence(lab: CalibrationLab) -> str:
    """A sentence on the mistakes with a significant loss, the worst first."""
    if not lab.mismatch:
        return ""
    built = sorted((row for row in lab.mismatch if not row.refused), key=lambda row: -(row.extra.value or 0.0))
    costly = [row for row in built if row.extra.significant and (row.extra.value or 0.0) > 0]
    if not costly:
        return "None of the mistakes has a significant loss here."
    losses = ", ".join(f"{title(row)} {formatting.signed_points(row.extra.value)}" for row in costly)
    others = len(built) - len(costly)
    rest = f" {plural(others, 'other mistake')} {'has' if others == 1 else 'have'} no significant loss."
    return f"Lost beyond a correct calibration, in points of {lab.measure}: {losses}.{rest if others else ''}"


def outlier_sentence(lab: CalibrationLab) -> str:
    """Sentences on the images that determine a range alone, and on what a calibration without them loses or gains."""
    if not lab.outliers:
        return ""
    first = lab.outliers[0]
    widen = "widens" if len(lab.outliers) == 1 else "widen"
    names = listed([row.image for row in lab.outliers[:NAMED]])
    sentence = (
        f"{names} {widen} the ranges most. {first.image} alone widens {plural(first.layers, 'layer')}, one of them"
        f" {first.times:.2f} times."
    )
    without = lab.without_outliers
    if without is None or without.refused or without.extra.value is None:
        return sentence
    value = without.extra.value
    better = ", better" if value < 0 else ""
    change = f"a further loss of {formatting.signed_points(value)} points of {lab.measure}{better}"
    significance = "" if without.extra.significant else " (not significant)"
    return f"{sentence} Calibrated {without.description}: {change}{significance}."


def additions_sentence(lab: CalibrationLab) -> str:
    """A sentence on the images of the dataset to add to the calibration."""
    if not lab.add:
        return ""
    names = listed([row.image for row in lab.add], len(lab.add))
    these, they_cover = ("this image", "It covers") if len(lab.add) == 1 else ("these images", "They cover")
    covered = f"{lab.add[-1].covered:.0%} of the out-of-range activations"
    return f"Add {these} to the calibration: {names}. {they_cover} {covered}."


def sentences(lab: CalibrationLab) -> Iterator[str]:
    """All sentences except the verdict."""
    yield from filter(
        None, (stability_sentence(lab), mismatch_sentence(lab), outlier_sentence(lab), additions_sentence(lab))
    )


def _cost(loss: Loss, recipe: str, measure: str) -> str:
    if loss.value is None:
        return f"{recipe} has no measured loss"
    bracket = formatting.interval(loss.low, loss.high)
    amount = f"{formatting.points(loss.value)} points of {measure}"
    loses = f"{recipe} loses {amount}" if loss.value >= 0 else f"{recipe} has a loss of {amount} (better)"
    change = f"{loses} {bracket}".rstrip()
    return change if loss.significant else f"{change}, which is not significant"
