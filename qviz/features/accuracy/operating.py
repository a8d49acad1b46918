"""Precision, recall, misses and false positives of models at the threshold in use, and what a variant loses there.

A detection counts if its score reaches the threshold. It is right if pycocotools matches it with an object of its class
at an IoU of .50; detections on a crowd are left out. For figures of all classes together, the counts are added first.

recall       right detections / objects
precision    right detections / detections; None without detections
misses       number of objects that are not found
false positives per image: number of detections that are not right / images
loss         reference minus variant, or variant minus reference for false positives: positive is worse. 95 % intervals
             and significance are computed as in `bootstrap`, with the same draws of the images. By class, Holm's
             correction is applied over the classes, separately for each measure
needed       the highest threshold at which the variant has at least the reference's recall, with its figures there
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qviz.features.accuracy.ap import APResult
from qviz.features.accuracy.bootstrap import MIN_IMAGES, draws, holm, interval, p_value
from qviz.features.accuracy.coco.tables import MatchTables
from qviz.features.accuracy.operating_at import BEST, At, thresholds_by_class
from qviz.features.accuracy.recalibration import Recovery, recoveries
from qviz.features.accuracy.thresholds import PrecisionRecall
from qviz.result import to_json
from qviz.structures import Loss


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One model on one class at its threshold; `label` is empty for all classes together.

    Attributes:
        threshold: The threshold; None if the classes have different ones.
        precision: In [0, 1]; None without detections.
        recall: In [0, 1]; None without objects.
        misses: Number of objects that are not found.
        truths, detections: Number of objects, and of detections that reach the threshold.
        false_positives_per_image: Mean number over all images.
    """

    label: str
    threshold: float | None
    precision: float | None
    recall: float | None
    misses: int
    truths: int
    detections: int
    false_positives_per_image: float


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One model: its figures for all classes together, and for each class that has objects or detections."""

    name: str
    figures: ClassFigures
    per_class: tuple[ClassFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """One entry of `operating_points` in `qviz evaluate --json`."""
        figures = to_json(self.figures)
        del figures["label"]
        return {"model": self.name, **figures, "per_class": to_json(self.per_class)}


@dataclass(frozen=True, slots=True)
class Needed:
    """The threshold at which a variant has the reference's recall, and its figures there.

    Attributes:
        threshold: The threshold; None if the variant does not reach that recall at any threshold.
    """

    threshold: float | None
    recall: float | None = None
    precision: float | None = None
    false_positives_per_image: float | None = None


@dataclass(frozen=True, slots=True)
class MeasureLosses:
    """What one variant loses on one class, or on all classes together if `label` is empty. Positive is worse."""

    label: str
    recall: Loss
    precision: Loss
    spurious_per_image: Loss
    needed: Needed


@dataclass(frozen=True, slots=True)
class OperatingLoss:
    """The losses of one variant, the class that loses the most recall first, and how much F1 can be recovered."""

    variant: str
    overall: MeasureLosses
    per_class: tuple[MeasureLosses, ...]
    recoveries: tuple[Recovery, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The value of `losses[].operating_point` in `qviz evaluate --json`."""
        document = to_json(self.overall)
        del document["label"]
        rows = [row.to_json() for row in self.recoveries]
        return {**document, "per_class": to_json(self.per_class), "recalibration": rows}


@dataclass(frozen=True, slots=True)
class Operating:
    """Every model at the same thresholds.

    Attributes:
        chosen: How the thresholds were chosen: `best`, the threshold as text, or `by class`.
        models: The figures of each model, the reference first.
        losses: One entry per variant.
    """

    chosen: str
    models: tuple[OperatingPoint, ...]
    losses: tuple[OperatingLoss, ...]

    @property
    def threshold(self) -> float | None:
        """The threshold of all classes; None if they differ, or if no detection of the reference is right."""
        return self.models[0].figures.threshold


def class_thresholds(at: At, labels: Sequence[str], reference: MatchTables) -> list[float | None]:
    """The threshold of each class; None if `at` is `best` but no detection of the reference is right."""
    if isinstance(at, Mapping):
        return list(thresholds_by_class(at, labels))
    best = PrecisionRecall.of(reference.classes).best().score if reference.classes else None
    threshold = best if at == BEST else float(at)
    return [threshold] * len(labels)


def operate(names: Sequence[str], labels: Sequence[str], tables: Sequence[MatchTables], at: At) -> Operating:
    """The figures and losses of all models at an operating point.

    Args:
        names: Names of the models, the reference first.
        labels: Names of the classes, in the order of the tables.
        tables: The matches of each model on the same images.
        at: A threshold in [0, 1], `best` (the reference's highest F1), or label -> threshold.

    Raises:
        SettingsError: The thresholds do not fit the classes.
    """
    thresholds = class_thresholds(at, labels, tables[0])
    counts = [_Counts.of(one, thresholds) for one in tables]
    rows = np.flatnonzero(np.any([one.truths.any(axis=1) | one.detections.any(axis=1) for one in counts], axis=0))
    same = None if isinstance(at, Mapping) or not thresholds else thresholds[0]
    points = [_point(name, labels, thresholds, same, one, rows) for name, one in zip(names, counts, strict=True)]
    chosen = "by class" if isinstance(at, Mapping) else BEST if at == BEST else f"{float(at):g}"
    weights = draws(tables[0].images).astype(np.float32) if len(tables) > 1 else np.empty((0, 0), np.float32)
    losses = [
        _losses(points[0], point, _Paired(counts[0], one, weights), table, rows)
        for point, one, table in zip(points[1:], counts[1:], tables[1:], strict=True)
    ]
    return Operating(chosen, tuple(points), tuple(losses))


def operate_models(models: Sequence[APResult], at: At) -> Operating:
    """Same as `operate`, for models that have been evaluated, with the recoveries of each variant."""
    labels = [row.label for row in models[0].figures.per_class]
    tables = [model.tables for model in models]
    return with_recoveries(operate([model.figures.name for model in models], labels, tables, at), labels, tables, at)


def with_recoveries(operating: Operating, labels: Sequence[str], tables: Sequence[MatchTables], at: At) -> Operating:
    """The operating point with the recoveries of each variant; for the arguments see `operate`."""
    thresholds = class_thresholds(at, labels, tables[0])
    losses = (
        replace(loss, recoveries=recoveries(tables[0], table, thresholds))
        for loss, table in zip(operating.losses, tables[1:], strict=True)
    )
    return replace(operating, losses=tuple(losses))


@dataclass(frozen=True, slots=True, eq=False)
class _Counts:
    """Three (classes, images) float32 arrays: right detections, all detections that count, and objects."""

    right: np.ndarray
    detections: np.ndarray
    truths: np.ndarray

    @classmethod
    def of(cls, tables: MatchTables, thresholds: Sequence[float | None]) -> _Counts:
        shape = len(tables.classes), tables.images
        right, detections, truths = (np.zeros(shape, np.float32) for _ in range(3))
        for k, (table, threshold) in enumerate(zip(tables.classes, thresholds, strict=True)):
            truths[k] = table.truths
            if threshold is not None:
                counted = reaches(table.scores, threshold) & table.counted
                hits = counted & table.right
                detections[k] = np.bincount(table.images[counted], minlength=shape[1])
                right[k] = np.bincount(table.images[hits], minlength=shape[1])
        return cls(right, detections, truths)


def reaches(scores: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) whether each score reaches the threshold. Both are compared as float32, the type of models' scores."""
    return np.asarray(scores.astype(np.float32) >= np.float32(threshold))


def _figures(label: str, threshold: float | None, sums: np.ndarray, images: int) -> ClassFigures:
    """The figures of a class. sums: number of right detections, of detections, and of objects."""
    right, detections, truths = sums.tolist()
    return ClassFigures(
        label=label,
        threshold=threshold,
        precision=right / detections if detections else None,
        recall=right / truths if truths else None,
        misses=int(truths - right),
        truths=int(truths),
        detections=int(detections),
        false_positives_per_image=(detections - right) / max(images, 1),
    )


def _point(
    name: str,
    labels: Sequence[str],
    thresholds: Sequence[float | None],
    same: float | None,
    counts: _Counts,
    rows: np.ndarray,
) -> OperatingPoint:
    """The figures of one model. rows: indices of the classes to list; same: the threshold of all classes, or None."""
    images = counts.right.shape[1]
    sums = np.array([values.sum(axis=1, dtype=np.float64) for values in _fields(counts)])
    per_class = [_figures(labels[k], thresholds[k], sums[:, k], images) for k in rows]
    return OperatingPoint(name, _figures("", same, sums.sum(axis=1), images), tuple(per_class))


@dataclass(frozen=True, slots=True, eq=False)
class _Paired:
    """Both models on the same images and draws."""

    reference: _Counts
    variant: _Counts
    weights: np.ndarray

    def losses(self, rows: np.ndarray) -> dict[str, tuple[Loss, float | None]]:
        """Measure -> (loss with interval, p value), pooled over the classes in `rows`, (classes,) bool."""
        first, second = (
            [values[rows].sum(axis=0) for values in _fields(one)] for one in (self.reference, self.variant)
        )
        drawn_first, drawn_second = ([self.weights @ values for values in one] for one in (first, second))
        images = len(first[0])
        shown = {
            "recall": first[2] > 0,
            "precision": first[1] + second[1] > 0,
            "spurious_per_image": (first[1] > first[0]) | (second[1] > second[0]),
        }
        result = {}
        for measure, function in MEASURES.items():
            totals = [[values.sum(keepdims=True) for values in one] for one in (first, second)]
            value = float((function(*totals[0], images) - function(*totals[1], images))[0])
            drawn = function(*drawn_first, images) - function(*drawn_second, images)
            result[measure] = _tested(value, np.asarray(drawn, np.float64), int(shown[measure].sum()))
        return result


def _fields(counts: _Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return counts.right, counts.detections, counts.truths


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


MEASURES: Mapping[str, Callable[..., np.ndarray]] = {
    "recall": lambda right, detections, truths, images: _ratio(right, truths),
    "precision": lambda right, detections, truths, images: _ratio(right, detections),
    "spurious_per_image": lambda right, detections, truths, images: (right - detections) / images,
}
"""Measure -> function of (right, detections, truths, images) whose value is higher for better models."""


def _tested(value: float, drawn: np.ndarray, images: int) -> tuple[Loss, float | None]:
    """(a loss with its interval, its p value; None if it cannot be tested).

    value: the loss; drawn: (resamples,) the loss in each; images: number of images that have objects or detections.
    """
    if np.isnan(value):
        return Loss(None), None
    if images < MIN_IMAGES:
        return Loss(value, None, None, False), None
    return Loss(value, *interval(drawn, images)), p_value(value, drawn, images)


def _losses(
    reference: OperatingPoint, variant: OperatingPoint, pair: _Paired, tables: MatchTables, rows: np.ndarray
) -> OperatingLoss:
    """The losses of one variant. `rows` are the indices of the classes that the operating points list."""
    every = np.ones(len(tables.classes), bool)
    overall = {measure: _excludes_zero(loss) for measure, (loss, _) in pair.losses(every).items()}
    tested = [pair.losses(np.arange(len(every)) == k) for k in rows]
    for measure in MEASURES:
        for result, significant in zip(tested, holm([result[measure][1] for result in tested]), strict=True):
            result[measure] = replace(result[measure][0], significant=significant), None
    per_class = [
        MeasureLosses(
            first.label,
            **{measure: loss for measure, (loss, _) in result.items()},
            needed=_needed(PrecisionRecall.of([tables.classes[k]]), first.recall, tables.images),
        )
        for k, first, result in zip(rows, reference.per_class, tested, strict=True)
    ]
    needed = _needed(PrecisionRecall.of(tables.classes), reference.figures.recall, tables.images)
    return OperatingLoss(
        variant.name,
        MeasureLosses("", **overall, needed=needed),
        tuple(sorted(per_class, key=lambda row: -(row.recall.value or 0.0))),
    )


def _excludes_zero(loss: Loss) -> Loss:
    if loss.low is None or loss.high is None:
        return loss
    return replace(loss, significant=loss.low > 0 or loss.high < 0)


def _needed(curve: PrecisionRecall, recall: float | None, images: int) -> Needed:
    """The highest threshold with at least this recall, and the figures there; it does not separate equal scores."""
    threshold = None if recall is None else curve.threshold_for_recall(recall)
    if threshold is None:
        return Needed(None)
    count = int((curve.scores >= threshold).sum())
    right = int(curve.right[:count].sum())
    return Needed(threshold, right / curve.truths, right / count, (count - right) / max(images, 1))
