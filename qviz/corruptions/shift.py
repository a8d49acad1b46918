"""A `Shift` applied: to an image's pixels, and to the boxes drawn on it.

The random draws of a shift are those of its image: every model sees the same pixels, and a seed keeps its direction
over all severities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qviz.corruptions import CORRUPTIONS, corrupt, corrupt_boxes
from qviz.corruptions.continuous import exposure, gamma, temperature
from qviz.structures import EncodedImage, Image

CONTINUOUS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "exposure": exposure,
    "gamma": gamma,
    "temperature": temperature,
}


def shifted(image: Image, under: EncodedImage) -> Image:
    """The decoded image under the shift of `under`. Raises SettingsError for a corruption that nobody knows."""
    shift = under.shift
    if shift is None:
        return image
    if change := CONTINUOUS.get(shift.name):
        pixels = change(image.pixels, shift.amount)
    else:
        pixels = corrupt(image.pixels, shift.name, int(shift.amount), seed_of(under))
    return replace(image, pixels=pixels, digest=under.digest)


def moved(boxes: np.ndarray, size: tuple[int, int], under: EncodedImage) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) of the plain image where its shift puts them, and which of them are still to be seen (n,) bool."""
    shift = under.shift
    if shift is None or shift.name in CONTINUOUS or not CORRUPTIONS[shift.name].moves_boxes:
        return boxes, np.ones(len(boxes), bool)
    return corrupt_boxes(boxes, size, shift.name, int(shift.amount), seed_of(under))


def seed_of(image: EncodedImage) -> int:
    """The same for an image under all of its shifts."""
    return int(image.digest[:8], 16)
