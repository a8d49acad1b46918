"""Objects in one image: detections and annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.structures.boxes import iou_matrix
from qviz.structures.polygons import polygon_iou_matrix

MASK_SIDE = 64
"""Cells of a mask along each side of its box."""


def _select(rows: Any, index: Any) -> Any:
    """An object of the same type, with every array indexed by `index`; what is None stays None."""
    values = (getattr(rows, name) for name in rows.__slots__)
    return type(rows)(*[None if value is None else value[index] for value in values])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections:
    """Objects of one image. All coordinates are pixels of the original image.

    Attributes:
        boxes: (n, 4) float32 xyxy.
        scores: (n,) float32 in [0, 1].
        class_ids: (n,) int32, zero-based.
        keypoints: (n, k, 3) float32 x, y and visibility in [0, 1]; None if the model has no keypoints.
        masks: (n, MASK_SIDE, MASK_SIDE / 8) uint8, the cells of each box as bits (`np.packbits`), row by row, 1 where
            the object is; None if the model has no masks.
        corners: (n, 4, 2) float32, the rotated boxes, around which `boxes` are upright; None if boxes are not rotated.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    keypoints: np.ndarray | None = None
    masks: np.ndarray | None = None
    corners: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        scores = f", scores {self.scores.min():.2f} to {self.scores.max():.2f}" if len(self) else ""
        return f"Detections({len(self)} objects{scores})"

    def __getitem__(self, index: Any) -> Detections:
        """The objects selected by an index or a mask: `detections[detections.scores > 0.5]`."""
        return _select(self, index)

    @classmethod
    def of(cls, boxes: Any, scores: Any, class_ids: Any, **shapes: np.ndarray) -> Detections:
        """Detections from array-like values, converted to the types above. shapes: the optional fields, as they are."""
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(class_ids, np.int32).reshape(-1),
            **shapes,
        )

    @classmethod
    def none(cls) -> Detections:
        """Empty detections."""
        return cls.of([], [], [])

    def above(self, score: float) -> Detections:
        """The detections with at least this score."""
        return self[self.scores >= score]

    def by_score(self) -> Detections:
        """The same detections by falling score; the order of equal scores does not change."""
        return self[np.argsort(-self.scores, kind="stable")]

    def overlaps(self, others: Detections) -> np.ndarray:
        """(n, m) IoU with each of m other detections, in [0, 1]: of the rotated boxes if both have them."""
        if self.corners is None or others.corners is None:
            return iou_matrix(self.boxes, others.boxes)
        return polygon_iou_matrix(self.corners, others.corners)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Annotated objects of one image: boxes (n, 4) xyxy pixels, class_ids (n,) int32, is_crowd (n,) bool."""

    boxes: np.ndarray
    class_ids: np.ndarray
    is_crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.class_ids)

    def __getitem__(self, index: Any) -> GroundTruth:
        return _select(self, index)


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """The result of one model on one image.

    Attributes:
        detections: Boxes after NMS.
        candidates: Boxes before NMS with a score of at least `CANDIDATE_FLOOR`, which show why an object was lost; None
            if the head does not provide them.
        width, height: Size of the image in pixels.
        milliseconds: Time that the model alone took.
    """

    detections: Detections
    candidates: Detections | None
    width: int
    height: int
    milliseconds: float


CANDIDATE_FLOOR = 0.05
"""Minimum score of a candidate; boxes with a lower score are noise."""


def class_ids_of(values: np.ndarray, offset: int) -> np.ndarray:
    """Class ids (n,) int32 from an output (n,) with whole numbers, of which `offset` is subtracted.

    A value that is no class, such as the background, NaN or 1e33, becomes -1.
    """
    whole = np.rint(values.astype(np.float64)) - offset
    usable = (whole >= 0) & (whole <= np.iinfo(np.int32).max)
    return np.where(usable, whole, -1).astype(np.int32)
