"""Which confidence to cut at, and whether a confidence still means what it meant. All at an IoU of .50.

F1           2 TP / (detections + truths) of what reaches a threshold, pooled over the classes or of one class
best         the threshold with the highest F1 (half-way to the next score below, so that equal ones stay together)
recovered    of the F1 that the variant loses at the reference's best threshold, the share that its own best brings
             back; None where nothing is lost
reliability  detections in ten bins of confidence: their mean confidence against the share that is right; ECE is the
             mean distance of the two, weighted by number (Naeini et al., AAAI 2015), lower is better
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.coco_matching import ClassTable, MatchTables
from qviz.structures.detections import CANDIDATE_FLOOR

BINS = 10


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """score: the threshold, None where the model finds nothing right; f1 in [0, 1]."""

    score: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """One class: the best of each model, and the variant's F1 at the reference's."""

    label: str
    reference: BestThreshold
    variant: BestThreshold
    variant_f1_unmoved: float
    truths: int


@dataclass(frozen=True, slots=True)
class ThresholdShift:
    """One variant against the reference, classes pooled."""

    reference: BestThreshold
    variant: BestThreshold
    variant_f1_unmoved: float
    recovered: float | None
    per_class: tuple[ClassThreshold, ...]

    def to_json(self) -> dict[str, float | None]:
        """As `qviz evaluate --json` prints it."""
        return {
            "reference": self.reference.score,
            "variant": self.variant.score,
            "recovered": self.recovered,
            "reference_f1": self.reference.f1,
            "variant_f1": self.variant.f1,
            "variant_f1_unmoved": self.variant_f1_unmoved,
        }


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """confidence: mean of the bin; precision: share of its detections that is right."""

    confidence: float
    precision: float
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """The bins that hold a detection, and the expected calibration error."""

    bins: tuple[ReliabilityBin, ...]
    ece: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """scores (n,) falling and whether each is right (n,), crowds left out; truths: how many objects there are."""

    scores: np.ndarray
    right: np.ndarray
    truths: int

    def f1(self, threshold: float | None) -> float:
        """F1 of what reaches a threshold."""
        if threshold is None:
            return 0.0
        reached = self.scores >= threshold
        return float(2 * self.right[reached].sum() / max(1, reached.sum() + self.truths))

    def best(self) -> BestThreshold:
        """The threshold with the highest F1, the highest of them."""
        found = np.cumsum(self.right)
        if not len(found) or not found[-1]:
            return BestThreshold(None, 0.0)
        last = np.append(self.scores[1:] < self.scores[:-1], True)  # a threshold cannot part equal scores
        f1 = np.where(last, 2 * found / (np.arange(1, len(found) + 1) + self.truths), 0)
        at = int(f1.argmax())
        below = float(self.scores[at + 1]) if at + 1 < len(found) else 0.0
        return BestThreshold((float(self.scores[at]) + below) / 2, float(f1[at]))


def judgement(tables: Sequence[ClassTable]) -> Judgement:
    """Of one class or of several pooled."""
    scores = np.concatenate([table.scores[~table.ignored[0]] for table in tables])
    right = np.concatenate([table.true[0][~table.ignored[0]] for table in tables])
    order = np.argsort(-scores, kind="stable")
    return Judgement(scores[order], right[order], int(sum(table.truths.sum() for table in tables)))


def threshold_shift(labels: Sequence[str], reference: MatchTables, variant: MatchTables) -> ThresholdShift:
    """labels: of the classes, in the tables' order."""
    first, second = judgement(reference.classes), judgement(variant.classes)
    mine, theirs = first.best(), second.best()
    unmoved = second.f1(mine.score)
    lost = mine.f1 - unmoved
    rows = (
        _of_class(*row) for row in zip(labels, reference.classes, variant.classes, strict=True) if row[1].truths.any()
    )
    return ThresholdShift(mine, theirs, unmoved, (theirs.f1 - unmoved) / lost if lost > 0 else None, tuple(rows))


def _of_class(label: str, reference: ClassTable, variant: ClassTable) -> ClassThreshold:
    first, second = judgement([reference]), judgement([variant])
    best = first.best()
    return ClassThreshold(label, best, second.best(), second.f1(best.score), first.truths)


def reliability(tables: MatchTables) -> Reliability:
    """Of one model, all classes."""
    seen = judgement(tables.classes)
    known = seen.scores >= CANDIDATE_FLOOR
    scores, right = seen.scores[known], seen.right[known]
    place = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = [
        ReliabilityBin(float(scores[place == b].mean()), float(right[place == b].mean()), int((place == b).sum()))
        for b in range(BINS)
        if (place == b).any()
    ]
    distance = sum(row.count * abs(row.confidence - row.precision) for row in bins)
    return Reliability(tuple(bins), distance / len(scores) if len(scores) else None)
