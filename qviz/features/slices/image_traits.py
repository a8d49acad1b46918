"""Traits of an image, measured in a worker: brightness, contrast, sharpness, noise, saturation, hour and size.

brightness   mean grey level, 0 (black) to 255
contrast     standard deviation of the grey levels
sharpness    standard deviation of the Laplacian of the grey levels, with the longest side reduced to 640 pixels; low
             for a blurred image
noise        standard deviation of the noise in grey levels (Immerkaer, Fast Noise Variance Estimation, 1996)
saturation   mean saturation of the HSV colours, 0 (grey) to 255
hour         hour of the exposure according to EXIF, 0 to 23; None if the file does not state it
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass

import cv2
import numpy as np

from qviz.context import Context
from qviz.datasets.images import exposure_hour, read_image
from qviz.errors import ImageError, WorkerError
from qviz.structures import Dataset, DatasetImage, EncodedImage

LONGEST = 640
AHEAD = 4
"""Number of images per worker that are read ahead."""


@dataclass(frozen=True, slots=True)
class ImageTraits:
    """The traits of one image, see the module. `width` and `height` are in the pixels to which boxes refer."""

    width: int
    height: int
    brightness: float
    contrast: float
    sharpness: float
    noise: float
    saturation: float
    hour: int | None


def traits_of(encoded: EncodedImage) -> ImageTraits:
    """The traits of one image; runs in a worker. Raises ImageError if it cannot be decoded."""
    pixels = read_image(encoded).pixels
    height, width = pixels.shape[:2]
    shrink = min(1.0, LONGEST / max(height, width))
    small = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else pixels
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return ImageTraits(
        width=width,
        height=height,
        brightness=float(grey.mean()),
        contrast=float(grey.std()),
        sharpness=float(cv2.Laplacian(grey, cv2.CV_32F).std()),
        noise=noise_of(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)),
        saturation=float(cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1].mean()),
        hour=exposure_hour(encoded),
    )


def noise_of(grey: np.ndarray) -> float:
    """Standard deviation of the noise in a grey image, (h, w) uint8."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))
    return float(math.sqrt(math.pi / 2) * response.mean() / 6)


def measure_images(context: Context, dataset: Dataset) -> list[ImageTraits | None]:
    """The traits of every image, in order; None for an image that can no longer be read. Raises Cancelled."""
    context.progress.step("Measuring images")
    traits: list[ImageTraits | None] = []
    waiting: list[Future[ImageTraits] | None] = []
    for job in _submitted(context, dataset.images):
        waiting.append(job)
        if len(waiting) >= AHEAD * context.engine.workers:
            traits.append(_result(context, waiting.pop(0)))
            context.progress.advance(len(traits), len(dataset.images))
    for job in waiting:
        traits.append(_result(context, job))
        context.progress.advance(len(traits), len(dataset.images))
    return traits


def _submitted(context: Context, images: tuple[DatasetImage, ...]) -> Iterator[Future[ImageTraits] | None]:
    for image in images:
        try:
            encoded = image.encoded()
        except ImageError:
            yield None
        else:
            yield context.engine.submit(traits_of, encoded)


def _result(context: Context, job: Future[ImageTraits] | None) -> ImageTraits | None:
    try:
        return None if job is None else context.wait(job)
    except (ImageError, WorkerError):
        return None
