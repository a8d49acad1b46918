"""Sentences on the slices of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.features.accuracy.slice_loss import SliceLoss, Slices, VariantSliceLoss
from qviz.features.slices.losses import MIN_IMAGES, MIN_OBJECTS
from qviz.features.slices.ranges import CalibrationGain, Gain, SliceAlarm, SliceRanges
from qviz.features.slices.traits import is_of_images
from qviz.formatting import interval, listed, plural, points, share, signed_points

SHOWN = 5


def sentence(row: SliceLoss, loss: VariantSliceLoss, name: str) -> str:
    """`In darker images (brightness < 40) int8 loses 6.1 [3.0, 9.4] points of recall more than in the others.`

    `name` is the shown name of the variant.
    """
    bounds = interval(loss.excess.low, loss.excess.high)
    amount = f"{points(loss.excess.value)} {bounds}".rstrip()
    word = "In" if is_of_images(row.meaning) else "Among"
    return f"{word} {row.meaning} {name} loses {amount} points of recall more than {word.lower()} the others."


def sentences(slices: Slices, variant: int, name: str) -> list[str]:
    """Sentences on the significant slices of one variant, the largest excess first, or that there are none.

    `variant` is its index among the variants, from 0.
    """
    rows = [
        (row.losses[variant].excess.value or 0.0, row)
        for row in slices.rows
        if row.losses[variant].excess.significant and (row.losses[variant].excess.value or 0.0) > 0
    ]
    if not rows:
        tested = sum(row.losses[variant].excess.low is not None for row in slices.rows)
        if not tested:
            return [f"Every slice is too small to test: {MIN_IMAGES} images and {MIN_OBJECTS} objects are needed."]
        return [f"In none of {plural(tested, 'slice')} does {name} lose significantly more than elsewhere."]
    rows.sort(key=lambda pair: -pair[0])
    return [sentence(row, row.losses[variant], name) for _, row in rows[:SHOWN]]


def variant_sentences(slices: Slices, names: Sequence[str]) -> list[str]:
    """The sentences on all variants."""
    return [text for number, name in enumerate(names) for text in sentences(slices, number, name)]


MIN_ALARMS = 3
"""A slice with fewer alarms is not named."""
NAMED_IMAGES = 5


def alarm_sentences(alarms: int, images: int, slices: Sequence[SliceAlarm], name: str) -> list[str]:
    """Sentences on the number of images outside the ranges of variant `name`, and on the slice with most of them."""
    count = f"{alarms or 'None'} of {plural(images, 'image')}"
    texts = [f"{count} {'drives' if alarms <= 1 else 'drive'} the network far outside the ranges of {name}."]
    rows = [row for row in slices if row.alarms >= MIN_ALARMS]
    most_frequent = max(rows, key=lambda row: (row.share, row.alarms), default=None)
    if most_frequent is not None and most_frequent.share > alarms / images:
        texts.append(f"Most often {most_frequent.meaning} do: {most_frequent.alarms} of {most_frequent.images}.")
    return texts


def ranges_sentences(result: SliceRanges, name: str) -> list[str]:
    """Sentences on the number of images outside the ranges, the slice with most, the images to add, and the gain."""
    texts = alarm_sentences(result.alarms, result.images, result.slices, name)
    if result.worst is not None:
        texts.append(_to_add(result, result.worst.meaning))
    if result.gain is not None:
        texts += gain_sentences(result.gain)
    return texts


def _to_add(result: SliceRanges, meaning: str) -> str:
    if not result.add:
        return f"The worst slice, {meaning}, lies within the ranges: no image of it is worth adding to the calibration."
    names = listed([row.image for row in result.add], NAMED_IMAGES)
    alarms = next(row.alarms for row in result.slices if row.meaning == meaning)
    doubt = "" if alarms else " None of them lies far outside, so its loss hardly comes from the calibration."
    return (
        f"To calibrate for the worst slice, {meaning}, add {plural(len(result.add), 'image')}: {names}. This covers"
        f" {share(result.add[-1].covered)} of how far its images lie outside the ranges.{doubt}"
    )


def gain_sentences(gain: CalibrationGain) -> list[str]:
    """One sentence per measure on the gain of the added images."""
    start = (
        f"{gain.recipe} from {plural(gain.calibration_images, 'calibration image')}, and from {gain.added} more, on"
        f" {plural(gain.images, 'other image')} of the slice"
    )
    return [f"{start}: {_gain(row)}" for row in gain.gains]


def _gain(row: Gain) -> str:
    bounds = interval(row.gain.low, row.gain.high)
    sure = "" if row.gain.significant is None or row.gain.significant else ", not significant"
    amount = f"{signed_points(row.gain.value)} {bounds}".rstrip()
    values = f"{points(row.without)} becomes {points(row.with_added)}"
    return f"{row.measure} ×100 {values}, {amount}{sure}; the variant as it is has {points(row.variant)}."


def chosen_sentence(result: SliceRanges, chosen: SliceLoss, add: int, name: str) -> str:
    """Sentences on one slice: how many of its images, and of all images, exceed the ranges, and how many to add."""
    row = next(row for row in result.slices if (row.trait, row.group) == (chosen.trait, chosen.group))
    counts = f"{row.alarms} of {plural(row.images, 'image')} of this slice, {result.alarms} of {result.images} of all"
    start = f"Far outside the calibrated ranges of {name}: {counts}."
    return f"{start} Calibrating with {plural(add, 'image')} more would cover the excess." if add else start
