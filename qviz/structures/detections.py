"""Objects in one image: detections and annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def _select(rows: Any, index: Any) -> Any:
    """An object of the same type, with every array indexed by `index`."""
    return type(rows)(*[getattr(rows, name)[index] for name in rows.__slots__])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detections:
    """Objects of one image: boxes (n, 4) float32 xyxy pixels, scores (n,) float32, class_ids (n,) int32 zero-based."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        scores = f", scores {self.scores.min():.2f} to {self.scores.max():.2f}" if len(self) else ""
        return f"Detections({len(self)} objects{scores})"

    def __getitem__(self, index: Any) -> Detections:
        """The objects selected by an index or a mask: `detections[detections.scores > 0.5]`."""
        return _select(self, index)

    @classmethod
    def of(cls, boxes: Any, scores: Any, class_ids: Any) -> Detections:
        """Detections from array-like values, converted to the types above."""
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(class_ids, np.int32).reshape(-1),
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
