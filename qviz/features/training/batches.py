"""The batches of a training: images prepared as for inference, then augmented.

A batch depends only on the seed and the step, so that an interrupted training gives the same result as an uninterrupted
one. Any crop, flip or change of contrast is allowed, because there are no labels: the teacher reads the same images as
the student.
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

MIN_CROP = 0.55
"""A crop has at least this share of the image's width and height."""
CONTRAST = (0.7, 1.3)
CACHE_BYTES = 512 << 20
"""Maximum bytes of prepared images in memory. The other images are prepared again each time."""


def packed(images: Sequence[EncodedImage]) -> bytes:
    """The bytes of a zip archive with all image files, to be sent to a worker."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, image in enumerate(images):
            archive.writestr(zipfile.ZipInfo(str(number)), image.data)
    return buffer.getvalue()


class Batches:
    """Makes the batch of every step from the images that can be read.

    Args:
        archive: The images, see `packed`.
        tensor: The input of the network.
        size: Number of images in a batch.

    Raises:
        QuantizeError: No image can be read.
    """

    def __init__(self, archive: bytes, settings: Settings, tensor: Tensor, size: int, seed: int) -> None:
        self._archive = zipfile.ZipFile(io.BytesIO(archive))
        self._settings, self._tensor, self._size, self._seed = settings, tensor, size, seed
        self._cached: dict[str, np.ndarray] = {}
        self._names = [name for name in self._archive.namelist() if self._readable(name)]
        if not self._names:
            raise QuantizeError("None of the training images can be read.")

    def __call__(self, step: int) -> np.ndarray:
        """The batch of a step, (size, h, w, 3) or (size, 3, h, w). No image is repeated before all have been used."""
        positions = range(step * self._size, (step + 1) * self._size)
        return np.concatenate([self._prepared(self._name(position)) for position in positions])

    def first(self, count: int) -> np.ndarray:
        """The first `count` images without augmentation, as one batch."""
        return np.concatenate([self._prepared(name) for name in self._names[:count]])

    def _name(self, position: int) -> str:
        epoch, index = divmod(position, len(self._names))
        return self._names[np.random.default_rng([self._seed, epoch]).permutation(len(self._names))[index]]

    def _readable(self, name: str) -> bool:
        try:
            self._prepared(name)
        except ImageError:
            return False
        return True

    def _prepared(self, name: str) -> np.ndarray:
        if name in self._cached:
            return self._cached[name]
        prepared = network_input(EncodedImage(name, self._archive.read(name)), self._settings, self._tensor)
        if (len(self._cached) + 1) * prepared.nbytes <= CACHE_BYTES:
            self._cached[name] = prepared
        return prepared


def augmented(tf: Any, images: Any, seed: Any, tensor: Tensor) -> Any:
    """Apply random crops, horizontal flips and changes of contrast, keeping the shape. `seed` is (2,) int32."""
    last = channels_last(tensor)
    pictures = images if last else tf.transpose(images, [0, 2, 3, 1])  # [batch, h, w, c]
    count, height, width = pictures.shape[:3]
    drawn = tf.random.stateless_uniform([count, 6], seed)
    size = MIN_CROP + (1 - MIN_CROP) * drawn[:, :2]
    start = drawn[:, 2:4] * (1 - size)
    boxes = tf.concat([start, start + size], axis=1)  # ymin, xmin, ymax, xmax in [0, 1]
    boxes = tf.where(drawn[:, 4:5] < 0.5, tf.gather(boxes, [0, 3, 2, 1], axis=1), boxes)
    cropped = tf.image.crop_and_resize(pictures, boxes, tf.range(count), [height, width])
    gain = CONTRAST[0] + (CONTRAST[1] - CONTRAST[0]) * drawn[:, 5]
    scaled = tf.clip_by_value(cropped * gain[:, None, None, None], tf.reduce_min(images), tf.reduce_max(images))
    return scaled if last else tf.transpose(scaled, [0, 3, 1, 2])
