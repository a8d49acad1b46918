"""Objects of one set of detections looked for in another, by class and place.

An object's confidence there is the highest score of a box of its class that overlaps it by `iou`, 0 where there is
none; so it falls smoothly, also where two detectors draw their boxes a little apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.analysis.changes import Change, changes
from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix

IOU = 0.5


def confidences(objects: Detections, among: Detections, iou: float = IOU) -> np.ndarray:
    """(n,) of each object among other detections."""
    if not len(objects) or not len(among):
        return np.zeros(len(objects))
    near = iou_matrix(objects.boxes, among.boxes) >= iou  # [n, m]
    same = objects.class_ids[:, None] == among.class_ids[None, :]
    return np.asarray(np.where(near & same, among.scores[None, :], 0).max(axis=1), float)


def agreed(objects: Detections, among: Detections, score: float, iou: float = IOU) -> tuple[int, int]:
    """(objects that are the same, objects of both): agreement is twice the first over the second, pooled."""
    kinds = [row.change for row in changes(objects, among, None, score, iou)]
    same = sum(kind in (Change.KEPT, Change.SHIFTED) for kind in kinds)
    return same, int((objects.scores >= score).sum() + (among.scores >= score).sum())


def agreement(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) of resamples with `weights` (R, I) of images whose `agreed` are counts (I, 2); 1 where nothing is found."""
    same, both = (weights @ counts.astype(np.float64)).T
    return np.divide(2 * same, both, out=np.ones(len(weights)), where=both > 0)


def breaking_point(severities: Sequence[float], shares: Sequence[float | None], least: float = 0.5) -> float | None:
    """The severity at which the share of objects still found falls below `least`, between two of them on a line.

    Severity 0 is the clean image, where all are found. None: it does not fall so low.
    """
    before, above = 0.0, 1.0
    for severity, share in zip(severities, shares, strict=True):
        if share is None:
            continue
        if share < least:
            return before + (severity - before) * (above - least) / (above - share)
        before, above = float(severity), share
    return None
