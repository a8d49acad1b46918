"""Which object of the candidate is which object of the reference: one to one, same class first, by IoU.

Two assignments, each optimal (Hungarian method, largest sum of IoU): first among pairs of one class, then among what is
left, whatever its class. Pairs below the IoU threshold are never made. Both sides come already cut at the score
threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """pairs (k, 2) int: reference index, candidate index; ious (k,); the indices without a partner."""

    pairs: np.ndarray
    ious: np.ndarray
    only_reference: np.ndarray
    only_candidate: np.ndarray


def match_detections(reference: Detections, candidate: Detections, iou: float = 0.5) -> Matches:
    """Pair the objects of two detectors on one image. `iou`: the least overlap of a pair, in (0, 1]."""
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; it is an overlap above 0 and up to 1 (did you give a percentage?)")
    overlaps = iou_matrix(reference.boxes, candidate.boxes)  # [n, m]
    same = reference.class_ids[:, None] == candidate.class_ids[None, :]
    first = _assign(np.where(same & (overlaps >= iou), overlaps, 0))
    rest = np.where(overlaps >= iou, overlaps, 0)
    rest[first[:, 0], :] = 0
    rest[:, first[:, 1]] = 0
    pairs = np.concatenate([first, _assign(rest)])
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    return Matches(
        pairs=pairs,
        ious=overlaps[pairs[:, 0], pairs[:, 1]],
        only_reference=np.setdiff1d(np.arange(len(reference)), pairs[:, 0]),
        only_candidate=np.setdiff1d(np.arange(len(candidate)), pairs[:, 1]),
    )


def prepare_matching() -> None:
    """Import ahead what the first ambiguous assignment needs (0.2 s)."""
    import scipy.optimize  # noqa: F401


def _assign(gains: np.ndarray) -> np.ndarray:
    """(k, 2) row, column of the assignment with the largest sum; entries of 0 are no pairs."""
    rows, columns = _lone_pairs(gains)
    if rows is None:
        from scipy.optimize import linear_sum_assignment  # 0.2 s to import, and seldom needed

        rows, columns = linear_sum_assignment(gains, maximize=True)
    made = gains[rows, columns] > 0
    return np.stack([rows[made], columns[made]], axis=1).astype(np.int64)


def _lone_pairs(gains: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The pairs, where no object has two possible partners: then there is nothing to assign."""
    possible = gains > 0
    if possible.sum(axis=0).max(initial=0) > 1 or possible.sum(axis=1).max(initial=0) > 1:
        return None, np.empty(0, np.int64)
    rows, columns = np.nonzero(possible)
    return rows, columns
