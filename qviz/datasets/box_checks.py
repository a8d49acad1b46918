"""Checks for unusable boxes and annotations, which are the same for every format.

Annotations that are left out are counted by problem. A box that lies partly outside its image is not changed, as in
pycocotools.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

MAX_NUMBER = 1e12
"""Larger coordinates, areas and ids are refused, because they would overflow."""
MIN_SHARE, MAX_SHARE = -0.5, 1.5
"""Range of coordinates given as shares of the image; coordinates outside it are in pixels, or wrong."""

NO_NUMBERS = "annotation whose box is not four numbers"
NO_AREA = "annotation whose box has no area"
OUTSIDE = "annotation whose box is outside of the image"
NO_SHARE = "annotation whose box is not given as shares of the image (0..1)"
UNKNOWN_CLASS = "annotation of an unknown category"
NO_IMAGE, UNREADABLE = "image whose file is missing", "image whose file cannot be read"


def problem_of(box: Sequence[float], size: tuple[int, int] | None) -> str | None:
    """Why a box (x1, y1, x2, y2) in pixels is unusable, or None if it is usable.

    size: (width, height) of the image; if it is None, boxes are not checked for lying outside the image.
    """
    if len(box) != 4 or not all(math.isfinite(value) and abs(value) < MAX_NUMBER for value in box):
        return NO_NUMBERS
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return NO_AREA
    if size is not None and (x2 <= 0 or y2 <= 0 or x1 >= size[0] or y1 >= size[1]):
        return OUTSIDE
    return None


def counted(problems: Counter[str]) -> tuple[str, ...]:
    """Each problem with its count, for `Dataset.skipped`, e.g. "2 annotations whose box has no area"."""
    plural = {what: what if count == 1 else what.replace(" ", "s ", 1) for what, count in problems.items()}
    return tuple(f"{count} {plural[what]}" for what, count in problems.items() if count)
