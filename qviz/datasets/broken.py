"""What makes an annotation unusable, the same for every format: boxes xyxy in pixels of an image of (width, height).

An annotation that is left out is counted by its reason; a box partly outside of its image stays as it is, as in
pycocotools.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

MAX_NUMBER = 1e12
"""Coordinates, areas and ids from here on are no such thing (and overflow further on)."""

NO_NUMBERS, NO_AREA, OUTSIDE = (
    "annotations whose box is not four numbers",
    "annotations whose box has no area",
    "annotations whose box lies outside of its image",
)
NO_SHARE = "annotations whose box is no share of the image (0..1)"
SHARES = (-0.5, 1.5)
"""Of a coordinate that is a share of the image: beyond them it is in pixels, or broken."""
UNKNOWN_CLASS = "annotations of an unknown category"
NO_IMAGE, UNREADABLE = "images whose file is missing", "images that cannot be read"


def broken_box(box: Sequence[float], size: tuple[int, int] | None) -> str | None:
    """The reason why a box cannot be used; without a size none lies outside."""
    if len(box) != 4 or not all(math.isfinite(value) and abs(value) < MAX_NUMBER for value in box):
        return NO_NUMBERS
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return NO_AREA
    if size is not None and (x2 <= 0 or y2 <= 0 or x1 >= size[0] or y1 >= size[1]):
        return OUTSIDE
    return None


def sentences(skipped: Counter[str]) -> tuple[str, ...]:
    """What was left out, as `Dataset.skipped` says it."""
    return tuple(f"{count} {what}" for what, count in skipped.items() if count)
