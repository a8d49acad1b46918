"""The best confidence threshold, and how well confidences match the share of right detections, at an IoU of .50.

F1           2 TP / (detections + objects), with the detections that reach a threshold; of one class, or of all pooled
best         the threshold with the highest F1, halfway between its lowest score and the next lower score
recovered    share of the F1 lost at the reference's best threshold that the variant's own best threshold brings back;
             None if nothing is lost
reliability  detections in ten bins of confidence: their mean confidence against the share that is right; ECE is the
             mean distance of the two, weighted by number (Naeini et al., AAAI 2015), lower is better
oLRP         the LRP of a class at a threshold is (sum of (1 - IoU) / .5 over right detections + false positives +
             misses) / (right detections + false positives + misses); oLRP is its lowest value over all thresholds,
             averaged over the classes that have objects; lower is better (Oksuz et al., Localization Recall Precision,
             ECCV 2018; One Metric to Measure Them All, TPAMI 2021)
LaECE        detections of a class in 25 bins of confidence: distance of the mean confidence from the product of the
             share that is right and the mean IoU of the right ones, averaged over the bins (weighted by number), then
             over the classes that have objects and detections; lower is better (Oksuz et al., Towards Building
             Self-aware Object Detectors, CVPR 2023, section 4, there at an IoU of .10; for boxes also Kuppers et al.,
             Multivariate Confidence Calibration for Object Detection, CVPR Workshops 2020)

ECE and LaECE count detections with a confidence of at least `CANDIDATE_FLOOR`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.coco.tables import ClassTable, MatchTables
from qviz.structures.detections import CANDIDATE_FLOOR

BINS, FIT_BINS = 10, 25
"""Number of bins of ECE, and of LaECE."""
IOU = 0.5


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """The best threshold. score: the threshold, None if no detection of the model is right; f1: F1 there, in [0, 1]."""

    score: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class ClassThreshold:
    """One class: the best threshold of each model, and the variant's F1 at the reference's threshold."""

    label: str
    reference: BestThreshold
    variant: BestThreshold
    variant_f1_unmoved: float
    truths: int


@dataclass(frozen=True, slots=True)
class ThresholdShift:
    """One variant against the reference, all classes pooled."""

    reference: BestThreshold
    variant: BestThreshold
    variant_f1_unmoved: float
    recovered: float | None
    per_class: tuple[ClassThreshold, ...]

    def to_json(self) -> dict[str, float | None]:
        """The thresholds, as `qviz evaluate --json` writes them."""
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
    """One bin: the mean confidence of its detections, and their precision, i.e. the share that is right."""

    confidence: float
    precision: float
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """The non-empty bins, and the expected calibration error `ece`, in [0, 1] (None if there are no detections)."""

    bins: tuple[ReliabilityBin, ...]
    ece: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Detections, sorted by falling score, without those on crowds.

    Attributes:
        scores: (n,) scores.
        right: (n,) bool, whether each detection is right.
        truths: Number of objects.
    """

    scores: np.ndarray
    right: np.ndarray
    truths: int

    @classmethod
    def of(cls, tables: Sequence[ClassTable]) -> PrecisionRecall:
        """The detections of one class, or of several classes pooled."""
        scores = np.concatenate([table.scores[table.counted] for table in tables])
        right = np.concatenate([table.right[table.counted] for table in tables])
        order = np.argsort(-scores, kind="stable")
        return cls(scores[order], right[order], int(sum(table.truths.sum() for table in tables)))

    def f1(self, threshold: float | None) -> float:
        """F1 of the detections that reach a threshold."""
        if threshold is None:
            return 0.0
        reached = self.scores >= threshold
        return float(2 * self.right[reached].sum() / max(1, reached.sum() + self.truths))

    def best(self) -> BestThreshold:
        """The threshold with the highest F1; if several tie, the highest of them."""
        hits = np.cumsum(self.right)
        if not len(hits) or not hits[-1]:
            return BestThreshold(None, 0.0)
        last = np.append(self.scores[1:] < self.scores[:-1], True)  # a threshold cannot separate equal scores
        f1 = np.where(last, 2 * hits / (np.arange(1, len(hits) + 1) + self.truths), 0)
        index = int(f1.argmax())
        below = float(self.scores[index + 1]) if index + 1 < len(hits) else 0.0
        return BestThreshold((float(self.scores[index]) + below) / 2, float(f1[index]))

    def threshold_for_recall(self, recall: float) -> float | None:
        """The highest threshold with at least this recall; None if no threshold has it."""
        hits = np.cumsum(self.right)
        if not self.truths or not len(hits) or hits[-1] < recall * self.truths - 1e-6:
            return None
        return float(self.scores[int(np.searchsorted(hits, recall * self.truths - 1e-6))])


def threshold_shift(labels: Sequence[str], reference: MatchTables, variant: MatchTables) -> ThresholdShift:
    """The best thresholds of both models, overall and by class.

    `labels` are the names of the classes, in the order of the tables.
    """
    first, second = PrecisionRecall.of(reference.classes), PrecisionRecall.of(variant.classes)
    reference_best, variant_best = first.best(), second.best()
    unmoved = second.f1(reference_best.score)
    lost = reference_best.f1 - unmoved
    per_class = tuple(
        _class_threshold(*row)
        for row in zip(labels, reference.classes, variant.classes, strict=True)
        if row[1].truths.any()
    )
    recovered = (variant_best.f1 - unmoved) / lost if lost > 0 else None
    return ThresholdShift(reference_best, variant_best, unmoved, recovered, per_class)


def _class_threshold(label: str, reference: ClassTable, variant: ClassTable) -> ClassThreshold:
    first, second = PrecisionRecall.of([reference]), PrecisionRecall.of([variant])
    best = first.best()
    return ClassThreshold(label, best, second.best(), second.f1(best.score), first.truths)


def reliability(tables: MatchTables) -> Reliability:
    """The reliability of one model, all classes together."""
    detections = PrecisionRecall.of(tables.classes)
    scores, right, number = _in_bins(detections.scores, detections.right)
    bins = [
        ReliabilityBin(float(scores[number == b].mean()), float(right[number == b].mean()), int((number == b).sum()))
        for b in range(BINS)
        if (number == b).any()
    ]
    return Reliability(tuple(bins), calibration_error(detections.scores, detections.right))


def calibration_error(scores: np.ndarray, right: np.ndarray) -> float | None:
    """The ECE of detections with a score of at least `CANDIDATE_FLOOR`; None if there are none.

    `scores` and `right` are (n,) confidences and whether each detection is right.
    """
    scores, right, number = _in_bins(scores, right)
    if not len(scores):
        return None
    sums = [np.bincount(number, weights=values, minlength=BINS) for values in (scores, right)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(scores))


def _in_bins(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores, whether each is right, index of its bin) for the detections with a score from `CANDIDATE_FLOOR`."""
    enough = scores >= CANDIDATE_FLOOR
    scores = scores[enough]
    return scores, right[enough], np.minimum((scores * BINS).astype(int), BINS - 1)


def optimal_lrp(tables: MatchTables) -> float | None:
    """oLRP of a model; None if nothing is annotated. tables: matches with objects of every size."""
    return _mean([_class_lrp(table) for table in tables.classes if table.truths.any()])


def localization_aware_ece(tables: MatchTables) -> float | None:
    """LaECE of a model; None without detections. tables: matches with objects of every size."""
    errors = [_class_ece(table) for table in tables.classes if table.truths.any()]
    return _mean([error for error in errors if error is not None])


def _class_lrp(table: ClassTable) -> float:
    counts = table.counted
    scores, ious, right = table.scores[counts], table.ious[counts], table.right[counts]
    if not right.any():
        return 1.0
    hits = np.cumsum(right)
    objects = int(table.truths.sum())
    localization = hits - np.cumsum(np.where(right, ious, 0), dtype=np.float64)
    detections = np.arange(1, len(scores) + 1)
    lrp = (localization / (1 - IOU) + detections - hits + objects - hits) / (detections - hits + objects)
    last = np.append(scores[1:] < scores[:-1], True)  # a threshold cannot separate equal scores
    return float(lrp[last].min(initial=1.0))


def _class_ece(table: ClassTable) -> float | None:
    counts = table.counted & (table.scores >= CANDIDATE_FLOOR)
    scores, fit = table.scores[counts], np.where(table.right, table.ious, 0)[counts]
    if not len(scores):
        return None
    number = np.minimum((scores * FIT_BINS).astype(int), FIT_BINS - 1)
    sums = [np.bincount(number, weights=values.astype(np.float64), minlength=FIT_BINS) for values in (scores, fit)]
    return float(np.abs(sums[0] - sums[1]).sum() / len(scores))


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
