"""Non-maximum suppression, class by class, greedy by falling score (as every detector of the field does it)."""

from __future__ import annotations

import numpy as np

from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix

MAX_CANDIDATES = 5000
"""Of more candidates the best are kept: the rest could not reach the detections anyway."""


def suppress(candidates: Detections, iou: float, max_detections: int) -> Detections:
    """The candidates that no better one of their class overlaps by more than `iou`, by falling score."""
    candidates = candidates.by_score()[:MAX_CANDIDATES]
    kept = np.ones(len(candidates), bool)
    for class_id in np.unique(candidates.class_ids):
        members = np.flatnonzero(candidates.class_ids == class_id)
        kept[members] = _survivors(candidates.boxes[members], iou, max_detections)
    return candidates[kept][:max_detections]


def _survivors(boxes: np.ndarray, iou: float, most: int) -> np.ndarray:
    """(n,) bool of boxes sorted by falling score; the search ends with the `most`-th survivor."""
    alive = np.ones(len(boxes), bool)
    kept = 0
    for best in range(len(boxes)):
        if alive[best]:
            kept += 1
            if kept == most:
                alive[best + 1 :] = False
                break
            alive[best + 1 :] &= iou_matrix(boxes[best : best + 1], boxes[best + 1 :])[0] <= iou
    return alive
