"""The brightness of a frame, computed in a worker."""

from __future__ import annotations

import cv2

from qviz.datasets.images import read_image
from qviz.structures import EncodedImage


def brightness_of(image: EncodedImage) -> float:
    """Mean grey level, 0 to 255. Raises ImageError if the image cannot be decoded."""
    return float(cv2.cvtColor(read_image(image).pixels, cv2.COLOR_RGB2GRAY).mean())
