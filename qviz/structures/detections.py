"""What a detector says of one image, and what a person says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def _select(rows: Any, index: Any) -> Any:
    """The same value type with every per-object array indexed alike."""
    return type(rows)(*[getattr(rows, name)[index] for name in rows.__slots__])


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects of one image: boxes (n, 4) float32 xyxy pixels, scores (n,) float32, class_ids (n,) int32 zero-based."""

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Any) -> Detections:
        """Boxes, scores and classes filtered together: `detections[detections.scores > .5]`."""
        return _select(self, index)

    @classmethod
    def of(cls, boxes: Any, scores: Any, class_ids: Any) -> Detections:
        """From anything array-like, with the types above."""
        return cls(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(scores, np.float32).reshape(-1),
            np.asarray(class_ids, np.int32).reshape(-1),
        )

    @classmethod
    def none(cls) -> Detections:
        """No object."""
        return cls.of([], [], [])

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        return self[self.scores >= score]

    def by_score(self) -> Detections:
        """Sorted by falling score (stable)."""
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
    """One run of one detector on one image.

    `candidates` are the boxes of the head before NMS that reach `CANDIDATE_FLOOR`, or None where the head cannot be
    read; they tell why an object was lost. `milliseconds` is the time of the model alone.
    """

    detections: Detections
    candidates: Detections | None
    width: int
    height: int
    milliseconds: float


CANDIDATE_FLOOR = 0.05
"""Below this score a box of the head is noise, not a candidate."""
