"""Which annotated objects a model finds at its thresholds, with pycocotools' matching at an IoU of .50."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qviz.features.accuracy.coco.matching import MAX_DETECTIONS
from qviz.features.accuracy.coco.rule import overlaps
from qviz.structures import Dataset

IOU = 0.5


def object_hits(dataset: Dataset, rows: np.ndarray, thresholds: Mapping[int, float | None]) -> np.ndarray:
    """(objects,) bool, whether each object is found.

    The objects are those that are not crowds, image by image, in the order of the annotations.

    Args:
        rows: (n, 7) detections: image id, x, y, width, height, score, category id.
        thresholds: Category id -> minimum confidence; None if no detection of that category counts.
    """
    lowest = np.array([1.1 if (limit := thresholds.get(int(k))) is None else limit for k in rows[:, 6]])
    rows = rows[rows[:, 5].astype(np.float32) >= lowest.astype(np.float32)]
    rows = rows[np.lexsort((-rows[:, 5], rows[:, 0]))]  # by image, then by falling score
    hits = []
    for image in dataset.images:
        start, end = np.searchsorted(rows[:, 0], [image.id, image.id + 1])
        single = ~image.is_crowd
        hits.append(_image_hits(image.boxes[single], image.category_ids[single], rows[start:end]))
    return np.concatenate([np.empty(0, bool), *hits])


def _image_hits(boxes: np.ndarray, categories: np.ndarray, rows: np.ndarray) -> np.ndarray:
    hits = np.zeros(len(boxes), bool)
    for category in np.unique(categories):
        indices = np.flatnonzero(categories == category)
        detections = rows[rows[:, 6] == category][:MAX_DETECTIONS]
        if len(detections):
            hits[indices] = _matched(boxes[indices], detections[:, 1:5])
    return hits


def _matched(truths: np.ndarray, detections: np.ndarray) -> np.ndarray:
    """(objects,) bool, whether each object of one class is found.

    Each detection in turn takes the best object that is still free, or the last one if several tie.
    """
    sides = np.concatenate([truths[:, :2], truths[:, 2:] - truths[:, :2]], axis=1)
    first, second = np.repeat(detections, len(sides), axis=0), np.tile(sides, (len(detections), 1))
    iou = overlaps(first, second, np.zeros(len(first), bool)).reshape(len(detections), len(sides))
    taken_by = np.zeros(len(sides), bool)
    for row in iou:
        free = np.where(taken_by, -1.0, row)
        best = len(free) - 1 - int(free[::-1].argmax())
        if free[best] >= IOU:
            taken_by[best] = True
    return taken_by
