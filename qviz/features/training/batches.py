"""The images of a training: which are in a batch, prepared as for inference, then varied.

Everything follows from the seed and the step alone, so that a training that was interrupted goes on as if it had not
been. Labels are not needed, so an image may be cut, mirrored and dimmed at will: the teacher sees the same.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from qviz.errors import ImageError, QuantizeError
from qviz.features.building.calibration import network_input
from qviz.structures import EncodedImage, Settings, Tensor
from qviz.tflite.inputs import channels_last

SMALLEST_CUT = 0.55
"""Share of each side that is left of an image."""
CONTRAST = (0.7, 1.3)
KEPT_BYTES = 512 << 20
"""Prepared images that are kept in memory; others are prepared anew each time."""


def packed(images: Sequence[EncodedImage]) -> bytes:
    """All images as one archive, for a worker."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, image in enumerate(images):
            archive.writestr(zipfile.ZipInfo(str(number)), image.data)
    return buffer.getvalue()


class Batches:
    """The images of every step. Those that cannot be read are left out. Raises QuantizeError where none can."""

    def __init__(self, archive: bytes, settings: Settings, tensor: Tensor, size: int, seed: int) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(archive))
        self._settings, self._tensor, self._size, self._seed = settings, tensor, size, seed
        self._kept: dict[str, np.ndarray] = {}
        self._names = [name for name in self._archive.namelist() if self._readable(name)]
        if not self._names:
            raise QuantizeError("None of the training images can be read.")

    def __call__(self, step: int) -> np.ndarray:
        """(size, h, w, 3) or (size, 3, h, w): each image once before any comes again."""
        places = range(step * self._size, (step + 1) * self._size)
        return np.concatenate([self._prepared(self._name(place)) for place in places])

    def first(self, count: int) -> np.ndarray:
        """The first images as they are, for a look at what the teacher says."""
        return np.concatenate([self._prepared(name) for name in self._names[:count]])

    def _name(self, place: int) -> str:
        turn, at = divmod(place, len(self._names))
        return self._names[np.random.default_rng([self._seed, turn]).permutation(len(self._names))[at]]

    def _readable(self, name: str) -> bool:
        try:
            self._prepared(name)
        except ImageError:
            return False
        return True

    def _prepared(self, name: str) -> np.ndarray:
        if name in self._kept:
            return self._kept[name]
        made = network_input(EncodedImage(name, self._archive.read(name)), self._settings, self._tensor)
        if (len(self._kept) + 1) * made.nbytes <= KEPT_BYTES:
            self._kept[name] = made
        return made


def varied(tf: Any, images: Any, seed: Any, tensor: Tensor) -> Any:
    """Cut, mirrored, more or less contrast; as many and as large. seed: (2,) int32."""
    last = channels_last(tensor)
    pictures = images if last else tf.transpose(images, [0, 2, 3, 1])  # [batch, h, w, c]
    count, high, wide = pictures.shape[:3]
    drawn = tf.random.stateless_uniform([count, 6], seed)
    size = SMALLEST_CUT + (1 - SMALLEST_CUT) * drawn[:, :2]
    start = drawn[:, 2:4] * (1 - size)
    boxes = tf.concat([start, start + size], axis=1)  # ymin, xmin, ymax, xmax in [0, 1]
    boxes = tf.where(drawn[:, 4:5] < 0.5, tf.gather(boxes, [0, 3, 2, 1], axis=1), boxes)
    cut = tf.image.crop_and_resize(pictures, boxes, tf.range(count), [high, wide])
    gain = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * drawn[:, 5]
    dimmed = tf.clip_by_value(cut * gain[:, None, None, None], tf.reduce_min(images), tf.reduce_max(images))
    return dimmed if last else tf.transpose(dimmed, [0, 3, 1, 2])
