"""What became of each object: kept, shifted, relabelled, lost or spurious, and why a lost one was lost.

Definitions (cli.md): kept is the same class with IoU >= KEPT_IOU, shifted the same class with less, relabelled another
class, lost an object of the reference without a partner, spurious one of the variant without a partner. Deltas are
variant minus reference. Agreement = 2 * (kept + shifted) / (reference objects + variant objects), 1 where both have
none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from qviz.analysis.matching import match_detections
from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix

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
