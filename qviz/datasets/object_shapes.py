"""Keypoints and masks of annotated objects, as COCO files and label files have them.

Keypoints are (k, 3) float64: x, y in pixels and COCO's visibility, 0 for a point that is not labelled, 1 for a hidden
and 2 for a visible one. A mask is COCO's compressed run lengths for the size of its image, as bytes. Polygons are
converted by pycocotools; run lengths are checked first, because its C code does not check them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qviz.datasets.box_checks import MAX_NUMBER
from qviz.datasets.problems import Problems, keep_example
from qviz.formatting import plural
from qviz.structures import DatasetProblem

MAX_KEYPOINTS = 1000
"""Maximum number of keypoints of an object."""
MAX_OUTLINE = 1e9
"""Maximum length of all polygons of a dataset together, in pixels. It limits time and memory of their conversion."""
MAX_AREA = 1 << 30
Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(slots=True)
class ShapeReader:
    """Reads the keypoints and masks of one dataset, and counts those that it cannot read.

    Attributes:
        outline: Length that further polygons may have, in pixels, see `MAX_OUTLINE`.
        unread: `keypoints` or `a mask` -> number of objects whose shape cannot be read.
        examples: `keypoints` or `a mask` -> names of images with such objects.
    """

    outline: float = MAX_OUTLINE
    unread: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def keypoints(self, values: Sequence[Any], name: str) -> np.ndarray | None:
        """(n,) object array of keypoints, from lists [x1, y1, v1, x2, ...]; None if no keypoint is labelled."""
        rows = [None if value is None else self._checked("keypoints", keypoints_of(value), name) for value in values]
        return column(rows) if any(row is not None and row[:, 2].any() for row in rows) else None

    def masks(self, values: Sequence[Any], size: Size | None, name: str) -> np.ndarray | None:
        """(n,) object array of masks, from COCO's polygons or run lengths; None if no object has a mask."""
        if size is None:
            return None
        given = [None if value in (None, []) else value for value in values]
        rows = [None if value is None else self._checked("a mask", self._mask(value, size), name) for value in given]
        return column(rows) if any(row is not None for row in rows) else None

    def doubt(self, problems: Problems) -> None:
        """Add a problem to `problems` for the keypoints, and one for the masks, that could not be read."""
        for what, count in self.unread.items():
            problems.doubt(
                DatasetProblem(
                    "unreadable_shapes",
                    f"{plural(count, 'object')} {'has' if count == 1 else 'have'} {what} that cannot be read: only the"
                    f" {'box counts' if count == 1 else 'boxes count'}.",
                    "Write keypoints as x, y, visibility, and masks as polygons in pixels or as COCO's run lengths.",
                    count,
                    tuple(self.examples[what]),
                )
            )

    def _checked(self, what: str, row: Any, name: str) -> Any:
        if row is None:
            self.unread[what] = self.unread.get(what, 0) + 1
            keep_example(self.examples.setdefault(what, []), name)
        return row

    def _mask(self, value: Any, size: Size) -> bytes | None:
        if isinstance(value, dict):
            return mask_of_runs(value.get("counts"), value.get("size"), size)
        polygons = polygons_of(value, size)
        if not polygons:
            return None
        self.outline -= sum(float(np.abs(np.diff(one, axis=0, append=one[:1])).max(axis=1).sum()) for one in polygons)
        return mask_of_polygons(polygons, size) if self.outline >= 0 else None


def column(rows: Sequence[Any]) -> np.ndarray:
    """The rows as a numpy array of dtype object, (n,)."""
    array = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        array[index] = row
    return array


def keypoints_of(value: Any) -> np.ndarray | None:
    """(k, 3) keypoints from a list [x1, y1, v1, x2, ...]; None if the value is not such a list."""
    if not isinstance(value, list) or not value or len(value) % 3 or len(value) > 3 * MAX_KEYPOINTS:
        return None
    numbers = _numbers(value)
    return None if numbers is None else numbers.reshape(-1, 3)


def polygons_of(value: Any, size: Size) -> list[np.ndarray]:
    """The polygons as arrays (p, 2) of x, y; empty if one of them is not valid.

    A polygon is not valid if it extends beyond the image by more than the image's width or height.
    """
    sides = np.array(size)
    polygons = []
    for row in value if isinstance(value, list) else []:
        points = _numbers(row) if isinstance(row, list) and len(row) >= 6 and len(row) % 2 == 0 else None
        if points is None:
            return []
        points = points.reshape(-1, 2)
        if (points < -sides).any() or (points > 2 * sides).any():
            return []
        polygons.append(points)
    return polygons


def mask_of_polygons(polygons: Sequence[np.ndarray], size: Size) -> bytes | None:
    """The mask that the polygons cover together, as `COCO.annToRLE` returns it; None if the image is too large."""
    from pycocotools import mask

    width, height = size
    if width * height > MAX_AREA:
        return None
    counts: bytes = mask.merge(mask.frPyObjects([one.ravel().tolist() for one in polygons], height, width))["counts"]
    return counts


def mask_of_runs(counts: Any, shape: Any, size: Size) -> bytes | None:
    """The mask of run lengths, a list or COCO's compressed text; None if they do not fill an image of this size."""
    from pycocotools import mask

    width, height = size
    if shape not in ([height, width], (height, width)) or width * height > MAX_AREA:
        return None
    runs = runs_of_text(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        return None
    if sum(runs) != width * height:
        return None
    result: bytes = mask.frPyObjects({"counts": runs, "size": [height, width]}, height, width)["counts"]
    return result


def runs_of_text(text: str) -> list[int] | None:
    """The run lengths in COCO's compressed text (`maskApi.c: rleFrString`), or None if it is damaged."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs if shift == 0 else None


def _numbers(values: list[Any]) -> np.ndarray | None:
    """The list as a float64 array; None if an element is not a number, or is too large to compute with."""
    if not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = np.array(values, np.float64)
    except OverflowError:
        return None
    return numbers if (np.abs(numbers) < MAX_NUMBER).all() else None


def shapes_document(keypoints: np.ndarray | None, masks: np.ndarray | None) -> dict[str, Any]:
    """The shapes of an image for a saved project, as `checked_keypoints` and `checked_masks` read them."""
    document: dict[str, Any] = {}
    if keypoints is not None:
        document["keypoints"] = [None if row is None else row.ravel().tolist() for row in keypoints]
    if masks is not None:
        document["masks"] = [None if row is None else row.decode("ascii") for row in masks]
    return document


def checked_keypoints(document: Any, count: int) -> np.ndarray | None:
    """The keypoints of `count` objects in a saved project; None if there are none, or if they do not fit."""
    if not isinstance(document, list) or len(document) != count:
        return None
    return ShapeReader().keypoints(document, "")


def checked_masks(document: Any, count: int, size: Size | None) -> np.ndarray | None:
    """The masks of `count` objects in a saved project; None if there are none, or if they do not fit."""
    if not isinstance(document, list) or len(document) != count or size is None:
        return None
    shape = [size[1], size[0]]
    rows = [{"counts": row, "size": shape} if isinstance(row, str) else None for row in document]
    return ShapeReader().masks(rows, size, "")
