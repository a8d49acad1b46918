"""Slices in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.features.accuracy.slice_loss import SliceLoss, Slices, VariantSliceLoss
from qviz.features.slices.losses import MIN_IMAGES, MIN_OBJECTS
from qviz.features.slices.traits import is_of_images
from qviz.formatting import interval, plural, points

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
