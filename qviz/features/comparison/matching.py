"""Match the objects of two models on one image, and count what changed.

Both models' objects are first filtered by the score threshold. Then they are matched one to one in two optimal
assignments (Hungarian method, largest sum of IoU): first among objects of the same class, then among the remaining
objects of any class. Pairs below the IoU threshold are never matched. The IoU of rotated boxes is that of the polygons.

The changes are: kept, the same class with IoU >= MIN_SAME_IOU; shifted, the same class with a lower IoU; relabelled,
another class; lost, an object of the reference without a partner; spurious, an object of the variant without a partner.
Deltas are variant minus reference. Agreement = 2 * (kept + shifted) / (reference objects + variant objects); it is
unknown if neither model has an object.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from qviz.structures import Detections


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matched objects of two models on one image.

    Attributes:
        pairs: (k, 2) int, the index in the reference and the index in the variant.
        ious: (k,) IoU of each pair, in (0, 1].
        only_reference, only_variant: (i,) and (j,) indices of the objects without a partner.
    """

    pairs: np.ndarray
    ious: np.ndarray
    only_reference: np.ndarray
    only_variant: np.ndarray


IOU = 0.5
"""Default minimum IoU of a pair."""


def match_detections(reference: Detections, variant: Detections, iou: float = IOU) -> Matches:
    """Match the objects of two models on one image. iou: minimum IoU of a pair. Raises ValueError unless in (0, 1]."""
    if not 0 < iou <= 1:
        raise ValueError(f"iou is {iou}; it must be above 0 and at most 1 (is it a percentage?)")
    overlaps = reference.overlaps(variant)  # [n, m]
    same = reference.class_ids[:, None] == variant.class_ids[None, :]
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
        only_variant=np.setdiff1d(np.arange(len(variant)), pairs[:, 1]),
    )


def prepare_matching() -> None:
    """Import scipy now, so that the first match with competing pairs does not have to wait 0.2 s for it."""
    import scipy.optimize  # noqa: F401


def _assign(gains: np.ndarray) -> np.ndarray:
    """(k, 2) pairs with the largest total gain.

    If no pairs compete, which is nearly always so, these are all pairs with a positive gain.
    """
    possible = gains > 0
    rows, columns = np.nonzero(possible)
    if possible.sum(axis=0).max(initial=0) > 1 or possible.sum(axis=1).max(initial=0) > 1:
        from scipy.optimize import linear_sum_assignment  # 0.2 s to import, and rarely needed

        rows, columns = linear_sum_assignment(gains, maximize=True)
        paired = gains[rows, columns] > 0
        rows, columns = rows[paired], columns[paired]
    return np.stack([rows, columns], axis=1).astype(np.int64)


MIN_SAME_IOU = 0.85


class Change(StrEnum):
    """The result of the comparison for one object."""

    KEPT = "kept"
    SHIFTED = "shifted"
    RELABELLED = "relabelled"
    LOST = "lost"
    SPURIOUS = "spurious"


class LostBecause(StrEnum):
    """The reason why an object is lost.

    gone: the head has no box of its class there; threshold: the box's score is too low; nms: another box suppressed it;
    unknown: the head cannot be read.
    """

    GONE = "gone"
    THRESHOLD = "threshold"
    NMS = "nms"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """What happened to one object.

    reference, variant: The object's index in that model's detections above the threshold, or None.
    """

    change: Change
    reference: int | None
    variant: int | None
    iou: float | None = None
    lost_because: LostBecause | None = None


def changes(
    reference: Detections,
    variant: Detections,
    candidates: Detections | None,
    score: float,
    iou: float = 0.5,
    reasons: bool = True,
) -> list[ObjectChange]:
    """The change of every object of one image: the reference's objects first, then the spurious ones.

    Args:
        candidates: Boxes of the variant's head before NMS, or None if the head cannot be read.
        score: Minimum confidence of an object, in [0, 1].
        iou: Minimum IoU of a pair, in (0, 1].
        reasons: Whether to find out why each lost object is lost; if not, `lost_because` is None.
    """
    first, second = reference.above(score), variant.above(score)
    matches = match_detections(first, second, iou)
    rows = [_pair(first, second, *pair) for pair in zip(*matches.pairs.T, matches.ious, strict=True)]
    for index in matches.only_reference:
        reason = lost_because(first[[index]], variant, candidates, score, iou) if reasons else None
        rows.append(ObjectChange(Change.LOST, int(index), None, lost_because=reason))
    rows.sort(key=lambda row: row.reference if row.reference is not None else -1)
    return rows + [ObjectChange(Change.SPURIOUS, None, int(index)) for index in matches.only_variant]


def _pair(reference: Detections, variant: Detections, first: int, second: int, overlap: float) -> ObjectChange:
    if reference.class_ids[first] != variant.class_ids[second]:
        change = Change.RELABELLED
    else:
        change = Change.KEPT if overlap >= MIN_SAME_IOU else Change.SHIFTED
    return ObjectChange(change, int(first), int(second), float(overlap))


def lost_because(
    lost: Detections, variant: Detections, candidates: Detections | None, score: float, iou: float
) -> LostBecause:
    """The reason why an object (a `Detections` of length 1) is lost, judged by the head's best box of its class."""
    best = _best_score(lost, variant, iou)
    if best is not None and best < score:
        return LostBecause.THRESHOLD
    if candidates is None:
        return LostBecause.UNKNOWN
    in_head = _best_score(lost, candidates, iou)
    if in_head is None:
        return LostBecause.GONE
    return LostBecause.THRESHOLD if in_head < score else LostBecause.NMS


def _best_score(lost: Detections, detections: Detections, iou: float) -> float | None:
    same = detections[detections.class_ids == lost.class_ids[0]]
    near = same[lost.overlaps(same)[0] >= iou]
    return float(near.scores.max()) if len(near) else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over any number of images.

    Attributes:
        agreement: In [0, 1], higher is better; None if neither model has an object.
        mean_score_delta: Mean of the variant's score minus the reference's, over pairs of the same class; None if
            there is no such pair.
    """

    kept: int
    shifted: int
    relabelled: int
    lost: int
    spurious: int
    agreement: float | None
    mean_score_delta: float | None

    @property
    def reference_objects(self) -> int:
        """Number of objects of the reference."""
        return self.kept + self.shifted + self.relabelled + self.lost

    @property
    def damage(self) -> int:
        """Twice the number of changed objects, with shifted objects counted half. Images are sorted by this number."""
        return self.shifted + 2 * (self.relabelled + self.lost + self.spurious)


def summarise(changes: Iterable[Change], score_deltas: Iterable[float]) -> Summary:
    """The summary of the changes of all objects and the score deltas of the kept and shifted ones."""
    count = dict.fromkeys(Change, 0) | Counter(changes)
    same = count[Change.KEPT] + count[Change.SHIFTED]
    reference = same + count[Change.RELABELLED] + count[Change.LOST]
    variant = same + count[Change.RELABELLED] + count[Change.SPURIOUS]
    deltas = list(score_deltas)
    return Summary(
        kept=count[Change.KEPT],
        shifted=count[Change.SHIFTED],
        relabelled=count[Change.RELABELLED],
        lost=count[Change.LOST],
        spurious=count[Change.SPURIOUS],
        agreement=2 * same / (reference + variant) if reference + variant else None,
        mean_score_delta=float(np.mean(deltas)) if deltas else None,
    )


def worst_first(agreement: float | None) -> float:
    """Sort key: lowest agreement first, unknown agreement (None) last."""
    return math.inf if agreement is None else agreement


def confidences(objects: Detections, detections: Detections, iou: float = IOU) -> np.ndarray:
    """(n,) score of each object in other detections: the highest with the same class and at least this IoU, else 0."""
    if not len(objects) or not len(detections):
        return np.zeros(len(objects))
    near = objects.overlaps(detections) >= iou  # [n, m]
    same = objects.class_ids[:, None] == detections.class_ids[None, :]
    return np.asarray(np.where(near & same, detections.scores[None, :], 0).max(axis=1), float)


def agreed(reference: Detections, variant: Detections, score: float, iou: float = IOU) -> tuple[int, int]:
    """(number of kept and shifted objects, total number of objects of both models) for one image.

    The agreement over several images is twice the sum of the first divided by the sum of the second.
    """
    rows = changes(reference, variant, None, score, iou)
    same = sum(row.change in (Change.KEPT, Change.SHIFTED) for row in rows)
    return same, int((reference.scores >= score).sum() + (variant.scores >= score).sum())


def softly_agreed(reference: Detections, variant: Detections, score: float, iou: float = IOU) -> tuple[float, float]:
    """The same as `agreed`, but objects are weighted with their scores, and pairs also with their IoU.

    A pair of the same class adds the smaller of its two scores times its IoU to the first sum; each object adds its
    score to the second. These sums also show small differences, so that a few images suffice to rank variants.

    Example:
        >>> softly_agreed(cat, cat, 0.05)  # one object with a score of 0.8
        (0.8, 1.6)
    """
    first, second = reference.above(score), variant.above(score)
    matches = match_detections(first, second, iou)
    in_first, in_second = matches.pairs.T
    smaller = np.minimum(first.scores[in_first], second.scores[in_second])
    same = first.class_ids[in_first] == second.class_ids[in_second]
    return float((smaller * matches.ious * same).sum()), float(first.scores.sum() + second.scores.sum())


def agreement(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) agreement of each resample; NaN where there are no objects.

    Args:
        counts: (I, 2) results of `agreed` or `softly_agreed`, one row per image.
        weights: (R, I) how often each image occurs in each resample.
    """
    same, both = (weights @ counts.astype(np.float64)).T
    return np.divide(2 * same, both, out=np.full(len(weights), np.nan), where=both > 0)


def agreement_of(counts: np.ndarray) -> float | None:
    """The agreement over all images; None if neither model has an object.

    counts: (images, 2) results of `agreed` or `softly_agreed`.
    """
    value = float(agreement(counts, np.ones((1, len(counts))))[0])
    return None if np.isnan(value) else value
