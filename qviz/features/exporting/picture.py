"""One small picture of an image for both models: the reference's boxes on the left half, the variant's on the right."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from qviz.features.comparison import ComparedObject

COLOURS = {
    "kept": (95, 107, 118),
    "shifted": (242, 183, 5),
    "relabelled": (166, 120, 222),
    "lost": (224, 64, 42),
    "spurious": (245, 130, 31),
}
"""RGB of each change, as on the pages."""
GAP, QUALITY = 6, 80


def side_by_side(jpeg: bytes, width: int, objects: Sequence[ComparedObject]) -> bytes:
    """Draw the image twice, with the reference's boxes on the left and the variant's on the right. Returns a JPEG.

    Args:
        jpeg: A preview of the image that qviz encoded itself.
        width: Width of the original image in pixels. The boxes of `objects` are in its pixels.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, "qviz encoded it"
    scale = image.shape[1] / width
    left, right = image.copy(), image
    for row in objects:
        colour = COLOURS[row.change][::-1]
        _draw(left, row.reference_box, scale, colour)
        _draw(right, row.variant_box, scale, colour)
    gap = np.full((image.shape[0], GAP, 3), 255, np.uint8)
    _, encoded = cv2.imencode(".jpg", np.hstack([left, gap, right]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _draw(pixels: np.ndarray, box: tuple[float, ...] | None, scale: float, colour: tuple[int, ...]) -> None:
    if box is None or not np.isfinite(box).all():
        return
    limit = 4 * max(pixels.shape)  # a box far outside the image would overflow OpenCV's integers
    x1, y1, x2, y2 = (round(min(max(value * scale, -limit), limit)) for value in box)
    cv2.rectangle(pixels, (x1, y1), (x2, y2), (255, 255, 255), 3, cv2.LINE_AA)
    cv2.rectangle(pixels, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
