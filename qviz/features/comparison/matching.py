"""Which object of the candidate is which object of the reference: one to one, same class first, by IoU.

Two assignments, each optimal (Hungarian method, largest sum of IoU): first among pairs of one class, then among what is
left, whatever its class. Pairs below the IoU threshold are never made. Both sides come already cut at the score
threshold.

What became of each object: kept, shifted, relabelled, lost or spurious, and why a lost one was lost.

Definitions (cli.md): kept is the same class with IoU >= KEPT_IOU, shifted the same class with less, relabelled another
class, lost an object of the reference without a partner, spurious one of the variant without a partner. Deltas are
variant minus reference. Agreement = 2 * (kept + shifted) / (reference objects + variant objects), 1 where both have
none.

Objects of one set of detections looked for in another, by class and place.

An object's confidence there is the highest score of a box of its class that overlaps it by `iou`, 0 where there is
none; so it falls smoothly, also where two detectors draw their boxes a little apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

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


KEPT_IOU = 0.85


class Change(StrEnum):
    """What became of an object."""

    KEPT = "kept"
    SHIFTED = "shifted"
    RELABELLED = "relabelled"
    LOST = "lost"
    SPURIOUS = "spurious"


class LostBecause(StrEnum):
    """gone: no box of the class is left in the head; threshold: it scores too little; nms: another box took it."""

    GONE = "gone"
    THRESHOLD = "threshold"
    NMS = "nms"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One object. reference, variant: its index in the detections above the threshold, or None."""

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
) -> list[ObjectChange]:
    """Every object of one image, those of the reference first. `candidates`: the variant's head before NMS."""
    kept_reference, kept_variant = reference.above(score), variant.above(score)
    found = match_detections(kept_reference, kept_variant, iou)
    rows = [_pair(kept_reference, kept_variant, *pair) for pair in zip(*found.pairs.T, found.ious, strict=True)]
    for index in found.only_reference:
        why = lost_because(kept_reference[[index]], variant, candidates, score, iou)
        rows.append(ObjectChange(Change.LOST, int(index), None, lost_because=why))
    rows.sort(key=lambda row: row.reference if row.reference is not None else -1)
    return rows + [ObjectChange(Change.SPURIOUS, None, int(index)) for index in found.only_candidate]


def _pair(reference: Detections, variant: Detections, first: int, second: int, overlap: float) -> ObjectChange:
    if reference.class_ids[first] != variant.class_ids[second]:
        change = Change.RELABELLED
    else:
        change = Change.KEPT if overlap >= KEPT_IOU else Change.SHIFTED
    return ObjectChange(change, int(first), int(second), float(overlap))


def lost_because(
    lost: Detections, variant: Detections, candidates: Detections | None, score: float, iou: float
) -> LostBecause:
    """Why one object (a `Detections` of one) has no partner: its best box of that class, followed through the head."""
    best = _best_score(lost, variant, iou)
    if best is not None and best < score:
        return LostBecause.THRESHOLD
    if candidates is None:
        return LostBecause.UNKNOWN
    in_head = _best_score(lost, candidates, iou)
    if in_head is None:
        return LostBecause.GONE
    return LostBecause.THRESHOLD if in_head < score else LostBecause.NMS


def _best_score(lost: Detections, among: Detections, iou: float) -> float | None:
    same = among[among.class_ids == lost.class_ids[0]]
    near = same[iou_matrix(lost.boxes, same.boxes)[0] >= iou]
    return float(near.scores.max()) if len(near) else None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over any number of images. mean_score_delta: over pairs of one class, None where there is none."""

    kept: int
    shifted: int
    relabelled: int
    lost: int
    spurious: int
    agreement: float
    mean_score_delta: float | None

    @property
    def damage(self) -> int:
        """Objects that are not the same any more; images are ordered by it."""
        return self.shifted + 2 * (self.relabelled + self.lost + self.spurious)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def summarise(kinds: Iterable[Change], score_deltas: Iterable[float]) -> Summary:
    """From the change of every object and the score deltas of those kept or shifted."""
    count = dict.fromkeys(Change, 0)
    for kind in kinds:
        count[kind] += 1
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
        agreement=2 * same / (reference + variant) if reference + variant else 1.0,
        mean_score_delta=float(np.mean(deltas)) if deltas else None,
    )


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
