"""How much of the F1 that a variant loses at the operating point can be recovered by a threshold or recalibration.

A recalibration maps a score to the probability that a detection with this score is right (IoU .50, all classes pooled):

platt     1 / (1 + exp(a logit(score) + b)), fitted by Newton's method with Platt's targets (Probabilistic Outputs for
          Support Vector Machines, 1999, section 2.2). The logit is used because scores are probabilities (Kuppers et
          al., Multivariate Confidence Calibration for Object Detection, CVPR Workshops 2020)
isotonic  the least-squares fit that never falls (Zadrozny and Elkan, KDD 2002), linear between the fitted scores. In a
          range of equal probability, at most `TINY` is added by rank, so that detections keep their order

The scores of both models are recalibrated. A detection then counts if its probability reaches the probability that the
threshold in use has for the reference. Two other methods do not change scores: `threshold` uses the threshold with the
variant's highest F1, `recall` the highest threshold with the reference's recall.

Nothing is measured on the images on which it was fitted: the images are divided into `FOLDS` parts, and each part is
measured with what was fitted on the others. F1 losses have the intervals of `bootstrap`, with the same draws. The
`threshold` of a row is for use in production: it is fitted on all images and applies to the variant's own scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.features.accuracy.bootstrap import SEED, draws, interval
from qviz.features.accuracy.coco.tables import MatchTables
from qviz.features.accuracy.thresholds import PrecisionRecall, calibration_error
from qviz.result import to_json
from qviz.structures import Loss

FOLDS = 5
MIN_IMAGES = 10
"""If there are fewer images, nothing is recalibrated."""
UNCHANGED, THRESHOLD, RECALL, PLATT, ISOTONIC = "unchanged", "threshold", "recall", "platt", "isotonic"
METHODS = (UNCHANGED, THRESHOLD, RECALL, PLATT, ISOTONIC)
TINY = 1e-6
TINY_CURVATURE = 1e-9
"""Added to the diagonal of Newton's matrix, so that it can be inverted even if a column is constant."""

Map = Callable[[np.ndarray], np.ndarray]
"""(n,) scores -> (n,) probabilities."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """How much one method recovers, measured on images on which it was not fitted.

    Attributes:
        method: One of `METHODS`.
        threshold: The threshold on the variant's own scores, fitted on all images; None if classes have different
            thresholds, or if there is none.
        f1, precision, recall: In [0, 1]; None without detections or objects.
        false_positives_per_image: Mean number over all images.
        loss: F1 of the reference minus this F1; without an interval if there are too few images.
        recovered: Share of the F1 lost by `unchanged` that this method recovers; None if nothing is lost.
        calibration_error: ECE of the scores or, for a recalibration, of the probabilities, see `thresholds`.
    """

    method: str
    threshold: float | None
    f1: float | None
    precision: float | None
    recall: float | None
    false_positives_per_image: float
    loss: Loss
    recovered: float | None
    calibration_error: float | None

    def to_json(self) -> dict[str, Any]:
        """One entry of `losses[].operating_point.recalibration` in `qviz evaluate --json`."""
        document = {name: getattr(self, name) for name in ("method", "threshold", "f1", "precision", "recall")}
        document["false_positives_per_image"] = self.false_positives_per_image
        document["f1_loss"] = to_json(self.loss)
        return {**document, "recovered": self.recovered, "calibration_error": self.calibration_error}


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The detections of one model, all classes pooled, without those on crowds.

    Attributes:
        scores, right, images: (n,) score, whether it is right, and index of its image.
        limits: (n,) threshold in use for its class; above 1 if no detection of that class counts.
        truths: (images,) number of objects.
    """

    scores: np.ndarray
    right: np.ndarray
    images: np.ndarray
    limits: np.ndarray
    truths: np.ndarray

    @classmethod
    def of(cls, tables: MatchTables, thresholds: Sequence[float | None]) -> Pool:
        """The pooled detections. `thresholds` has one entry per class."""
        rows = []
        for table, threshold in zip(tables.classes, thresholds, strict=True):
            counts = table.counted
            limit = np.full(int(counts.sum()), 2.0 if threshold is None else threshold)
            rows.append((table.scores[counts], table.right[counts], table.images[counts], limit))
        scores, right, images, limits = (np.concatenate(column) for column in zip(*rows, strict=True))
        truths = np.sum([table.truths for table in tables.classes], axis=0)
        return cls(scores.astype(np.float64), right.astype(bool), images, limits.astype(np.float64), truths)

    def on(self, chosen: np.ndarray) -> Pool:
        """The detections and objects on the chosen images. chosen: (images,) bool."""
        rows = chosen[self.images]
        arrays = (self.scores[rows], self.right[rows], self.images[rows], self.limits[rows])
        return Pool(*arrays, np.where(chosen, self.truths, 0))

    @property
    def curve(self) -> PrecisionRecall:
        """The detections, sorted by falling score."""
        order = np.argsort(-self.scores, kind="stable")
        return PrecisionRecall(self.scores[order], self.right[order], int(self.truths.sum()))


def recoveries(
    reference: MatchTables, variant: MatchTables, thresholds: Sequence[float | None]
) -> tuple[Recovery, ...]:
    """One row per method; empty with fewer than `MIN_IMAGES` images, or if no detection is right.

    Args:
        thresholds: The threshold in use of each class.

    Example:
        >>> [row.method for row in recoveries(reference.tables, variant.tables, [0.4] * 80)]
        ['unchanged', 'threshold', 'recall', 'platt', 'isotonic']
    """
    if variant.images < MIN_IMAGES or not variant.classes:
        return ()
    first, second = (Pool.of(tables, thresholds) for tables in (reference, variant))
    if not first.right.any() or not second.right.any():
        return ()
    return _Measured(first, second, variant.images).rows()


class _Measured:
    """Both models on the same images and draws."""

    def __init__(self, reference: Pool, variant: Pool, images: int) -> None:
        self._reference, self._variant, self._images = reference, variant, images
        self._fold = np.random.default_rng(SEED).permutation(images) % FOLDS
        self._weights = draws(images).astype(np.float32)
        self._reference_counts = _counts(reference, reference.scores.astype(np.float32) >= reference.limits, images)

    def rows(self) -> tuple[Recovery, ...]:
        rows: list[Recovery] = []
        for method in METHODS:
            rows.append(self._row(method, rows[0].loss.value if rows else None))
        return tuple(rows)

    def _row(self, method: str, lost: float | None) -> Recovery:
        """The row of one method. `lost` is the F1 lost without a change."""
        variant = self._variant
        counted = np.zeros(len(variant.scores), bool)
        confidence = variant.scores.copy()
        for fold in range(FOLDS):
            inside = self._fold == fold
            fit = _fitted(method, self._reference.on(~inside), variant.on(~inside))
            rows = inside[variant.images]
            counted[rows], confidence[rows] = fit(variant.scores[rows], variant.limits[rows])
        counts = _counts(variant, counted, self._images)
        right, detections, truths = counts.sum(axis=1).tolist()
        loss = self._loss(counts)
        gain = None if lost is None or loss.value is None else lost - loss.value
        return Recovery(
            method,
            _shipped(method, self._reference, variant),
            _f1(counts.sum(axis=1)),
            right / detections if detections else None,
            right / truths if truths else None,
            (detections - right) / self._images,
            loss,
            gain / lost if gain is not None and lost is not None and lost > TINY else None,
            calibration_error(confidence, variant.right),
        )

    def _loss(self, counts: np.ndarray) -> Loss:
        first, second = _f1(self._reference_counts.sum(axis=1)), _f1(counts.sum(axis=1))
        if first is None or second is None:
            return Loss(None)
        drawn = _f1_of(self._reference_counts @ self._weights.T) - _f1_of(counts @ self._weights.T)
        low, high = interval(drawn.astype(np.float64), self._images)
        significant = None if low is None or high is None else low > 0 or high < 0
        return Loss(first - second, low, high, significant)


def _counts(pool: Pool, counted: np.ndarray, images: int) -> np.ndarray:
    """(3, images) float32: right detections, all detections that count, and objects."""
    right = np.bincount(pool.images[counted & pool.right], minlength=images)
    return np.array([right, np.bincount(pool.images[counted], minlength=images), pool.truths], np.float32)


def _f1(sums: np.ndarray) -> float | None:
    value = float(_f1_of(sums[:, None])[0])
    return None if np.isnan(value) else value


def _f1_of(sums: np.ndarray) -> np.ndarray:
    """(n,) F1 from (3, n) sums of right detections, detections and objects."""
    below = sums[1] + sums[2]
    return np.divide(2 * sums[0], below, out=np.full(len(below), np.nan), where=below > 0)


Fit = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(scores, limits) -> (whether each detection counts, its confidence)."""


def _fitted(method: str, reference: Pool, variant: Pool) -> Fit:
    """Fit a method on both pools and return how it decides about the variant's detections."""
    if method in (PLATT, ISOTONIC):
        fit = platt if method == PLATT else isotonic
        first, second = fit(reference.scores, reference.right), fit(variant.scores, variant.right)

        def recalibrated(scores: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            probabilities = second(scores)
            return (probabilities >= first(limits) - 1e-12) & (limits <= 1), probabilities

        return recalibrated
    limit = _own_threshold(method, reference, variant)
    return lambda scores, limits: (scores.astype(np.float32) >= (limits if limit is None else limit), scores)


def _own_threshold(method: str, reference: Pool, variant: Pool) -> np.float32 | None:
    """The variant's own threshold for the methods `threshold` and `recall`; None if the threshold in use is kept."""
    if method == THRESHOLD:
        best = variant.curve.best().score
        return None if best is None else np.float32(best)
    if method == RECALL:
        in_use = reference.right & (reference.scores.astype(np.float32) >= reference.limits)
        threshold = variant.curve.threshold_for_recall(in_use.sum() / max(1, reference.truths.sum()))
        return None if threshold is None else np.float32(threshold)
    return None


def _shipped(method: str, reference: Pool, variant: Pool) -> float | None:
    """The threshold on the variant's own scores, fitted on all images of both pools."""
    in_use = np.unique(reference.limits)
    if len(in_use) != 1 or in_use[0] > 1:
        return None
    if method not in (PLATT, ISOTONIC):
        best = _own_threshold(method, reference, variant)
        return float(in_use[0]) if method == UNCHANGED else None if best is None else float(best)
    counted, _ = _fitted(method, reference, variant)(
        scores := np.unique(variant.scores), np.full(len(scores), in_use[0])
    )
    return float(scores[counted][0]) if counted.any() else None


def isotonic(scores: np.ndarray, right: np.ndarray) -> Map:
    """The map of the isotonic fit: linear between the fitted scores, and constant below and above them.

    Args:
        scores: (n,) in [0, 1], with n > 0.
        right: (n,) bool, whether each detection is right.
    """
    from scipy.optimize import isotonic_regression

    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=right) / counts
    fitted = np.asarray(isotonic_regression(means, weights=counts).x) + TINY * np.cumsum(counts) / len(scores)
    return lambda new_scores: np.interp(new_scores, values, fitted)


def platt(scores: np.ndarray, right: np.ndarray) -> Map:
    """The map of Platt's logistic fit on the logit of the scores; the module names the source."""
    slope, offset = platt_coefficients(scores, right)
    return lambda new_scores: sigmoid(slope * logit(new_scores) + offset)


def platt_coefficients(scores: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """(slope, offset) of the line that maps the score's logit to the probability's logit.

    Newton's method minimises the cross-entropy with Platt's targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2), which is
    convex; steps that would raise it are halved.
    """
    slope, offset = logistic_coefficients(logit(scores)[None], right, np.array([1.0, 0.0]))
    return float(slope), float(offset)


def logistic_coefficients(
    columns: np.ndarray, happened: np.ndarray, start: np.ndarray | None = None, ridge: float = 0.0
) -> np.ndarray:
    """Fit a logistic regression with Platt's targets: (k + 1,) weights of the columns, then the offset.

    Args:
        columns: (k, n) numbers from which the probability is computed.
        happened: (n,) bool, whether the event happened.
        start: (k + 1,) weights and offset with which the search begins; None for zeros.
        ridge: `ridge / 2 * weight**2` is added to the cost for each weight, but not for the offset.
    """
    count, positives = len(happened), int(np.sum(happened))
    targets = np.where(happened, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    matrix = np.vstack([columns, np.ones(count)])
    coefficients = np.zeros(len(matrix)) if start is None else start
    penalty = np.append(np.full(len(columns), ridge), 0.0)

    def cost_of(values: np.ndarray) -> float:
        z = values @ matrix
        return float(np.sum(np.logaddexp(0, z) - targets * z) + penalty @ values**2 / 2)

    cost = cost_of(coefficients)
    for _ in range(50):
        p = sigmoid(coefficients @ matrix)
        gradient = matrix @ (p - targets) + penalty * coefficients
        hessian = (matrix * (p * (1 - p))) @ matrix.T + np.diag(penalty + TINY_CURVATURE)
        step, size = np.linalg.solve(hessian, gradient), 1.0
        while size > 1e-6 and cost_of(coefficients - size * step) > cost:
            size /= 2
        coefficients = coefficients - size * step
        if cost - (new := cost_of(coefficients)) < 1e-10 * max(1.0, cost):
            break
        cost = new
    return np.asarray(coefficients)


def logit(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)) of scores s, which are first clipped to [1e-6, 1 - 1e-6]."""
    inside = np.clip(np.asarray(scores, np.float64), TINY, 1 - TINY)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)), computed without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))
