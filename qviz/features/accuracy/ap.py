"""Average precision as pycocotools computes it, by class and overall, and what a variant loses.

The matches are identical to those of pycocotools. Numbers are added in another order, so metrics may differ by 1e-15.
Metrics are in [0, 1]; for a class without ground truth they are None. Loss is reference minus variant: positive is
worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qviz.features.accuracy.coco.matching import CocoMatches, match, matches_of, result_rows
from qviz.features.accuracy.coco.tables import ClassTable, MatchTables
from qviz.features.accuracy.thresholds import localization_aware_ece, optimal_lrp
from qviz.formatting import hundred, points
from qviz.result import to_json
from qviz.structures import Category, Dataset, Detections, Loss

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ClassAP:
    """One class of one model.

    Attributes:
        truths: Number of annotated objects, without crowds.
        label: Name of the class.
        ap, ap50: AP in [0, 1]; None without annotated objects.
        images: Number of images with at least one object of the class.
    """

    label: str
    ap: float | None
    ap50: float | None
    truths: int
    images: int


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """One model on one dataset: one field per row of `METRICS`, in [0, 1], or None if nothing is annotated.

    Further fields are needed for COCO's summary: average recall by size, and with at most 1 and 10 detections per image
    and class. A new field needs a default, so that saved studies can still be opened.
    """

    name: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    per_class: tuple[ClassAP, ...]
    ar_1: float | None = None
    ar_10: float | None = None
    ar_small: float | None = None
    ar_medium: float | None = None
    ar_large: float | None = None
    olrp: float | None = None
    laece: float | None = None

    def figures(self) -> tuple[float | None, ...]:
        """The metrics in the order of `METRICS`."""
        return tuple(metric.of(self) for metric in METRICS)


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """The loss of one class."""

    JSON_INLINE: ClassVar = ("loss",)

    label: str
    loss: Loss
    truths: int
    images: int


@dataclass(frozen=True, slots=True)
class VariantLoss:
    """The losses of one variant, overall and by class, the worst class first."""

    variant: str
    ap: Loss
    per_class: tuple[ClassLoss, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per class."""
        import pandas as pd

        return pd.DataFrame(to_json(self.per_class))


def evidence(loss: Loss) -> tuple[int, float]:
    """Sort key: significant losses come first, then losses with an interval, then others; larger ones first in each."""
    certainty = 2 if loss.significant else 1 if loss.low is not None else 0
    return -certainty, -(loss.value or 0.0)


IOU50, IOU75 = 0, 5
"""Indices of the thresholds .50 and .75 among the IoU thresholds."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a model's accuracy.

    Attributes:
        key: Field of `AveragePrecision`, and key in JSON.
        label: Heading of its column.
        meaning: Text for the glossary and the help of the column, with its unit and whether higher is better.
        size: Size of the objects that count, one of `coco.matching.SIZES`.
        iou: Index of the IoU threshold; None for the mean over all thresholds.
        recall: Whether the metric averages recall instead of precision.
    """

    key: str
    label: str
    meaning: str
    size: str = "all"
    iou: int | None = None
    recall: bool = False

    def of(self, model: AveragePrecision) -> float | None:
        """The metric of a model, in [0, 1]; None if it is unknown."""
        value: float | None = getattr(model, self.key)
        return value

    def shown(self, model: AveragePrecision) -> float | None:
        """The value x100, not rounded, or None if it is unknown."""
        return hundred(self.of(model))

    def text(self, model: AveragePrecision) -> str:
        """The value x100 as text, e.g. `31.5`; a dash if it is unknown."""
        return points(self.of(model))

    def compute(self, precision: Mapping[str, np.ndarray], recall: Mapping[str, np.ndarray]) -> float | None:
        """The mean over all classes, in [0, 1], or None.

        Args:
            precision: Size -> (classes, T, 101) interpolated precision, at IoU .50, .55 ... .95; NaN without ground
                truth.
            recall: Size -> (classes, T) highest recall.
        """
        values = (recall if self.recall else precision)[self.size]
        return _mean(values if self.iou is None else values[:, self.iou])


METRICS = (
    Metric(
        "ap",
        "AP",
        "Average precision, averaged over classes and over IoU .50 to .95 (as pycocotools computes it); ×100, higher is"
        " better.",
    ),
    Metric("ap50", "AP50", "AP at an IoU of .50 alone: a rough box is enough; ×100, higher is better.", iou=IOU50),
    Metric("ap75", "AP75", "AP at an IoU of .75 alone: boxes must fit well; ×100, higher is better.", iou=IOU75),
    Metric("ap_small", "small", "AP of objects below 32² pixels; ×100, higher is better.", size="small"),
    Metric("ap_medium", "medium", "AP of objects of 32² to 96² pixels; ×100, higher is better.", size="medium"),
    Metric("ap_large", "large", "AP of objects above 96² pixels; ×100, higher is better.", size="large"),
    Metric(
        "ar",
        "AR",
        "Average recall: the share of objects found with at most 100 detections per image, averaged as AP is; ×100,"
        " higher is better.",
        recall=True,
    ),
)
"""Every metric of a model's accuracy for which higher is better; the chart of metrics reads these rows."""

ERRORS = (
    Metric(
        "olrp",
        "oLRP",
        "Optimal Localization Recall Precision error: missed objects, false positives and the misfit of boxes in one"
        " number, at each class's best confidence (IoU .50); ×100, lower is better.",
    ),
    Metric(
        "laece",
        "LaECE",
        "Localization-aware calibration error: mean distance of the confidence from precision times IoU, in 25 bins per"
        " class (IoU .50, confidence of at least .05); ×100, lower is better.",
    ),
)
"""Errors of a model, see `thresholds`."""
TABLE_METRICS = (*METRICS, *ERRORS)
"""What tables, command line, Markdown, report and glossary show of a model."""


@dataclass(frozen=True, slots=True, eq=False)
class APResult:
    """One model on one dataset.

    Attributes:
        figures: The metrics of the model.
        tables: The matches by class and image, for objects of every size.
        curves: (classes, 101) interpolated precision at an IoU of .50 over recall 0 to 1; NaN without ground truth.
        detections: Image id -> detections in pixels of the original image.
        classes: Class id -> category id.
    """

    figures: AveragePrecision
    tables: MatchTables
    curves: np.ndarray
    detections: Mapping[int, Detections]
    classes: Mapping[int, int]

    @property
    def results(self) -> np.ndarray:
        """(n, 7) image id, x, y, width, height, score, category id of every detection of a known class."""
        return result_rows(self.detections, self.classes)


def average_precision(
    name: str,
    dataset: Dataset,
    detections: Mapping[int, Detections],
    classes: Mapping[int, int],
) -> APResult:
    """All metrics of one model on one dataset.

    Args:
        name: Name of the model.
        detections: Image id -> detections in pixels of the original image.
        classes: Class id -> category id.
    """
    return ap_result(name, dataset.categories, matches_of(dataset, detections, classes), detections, classes)


def ap_result(
    name: str,
    categories: Sequence[Category],
    matches: CocoMatches,
    detections: Mapping[int, Detections],
    classes: Mapping[int, int],
) -> APResult:
    """All metrics of one model whose detections have been matched; the arguments are those of `average_precision`."""
    tables = matches.tables(len(categories))
    figures, precision = figures_of(name, categories, tables)
    figures = replace(figures, olrp=optimal_lrp(tables["all"]), laece=localization_aware_ece(tables["all"]))
    return APResult(figures, tables["all"], precision[:, IOU50].astype(np.float32), detections, classes)


def figures_of(
    name: str, categories: Sequence[Category], matched: Mapping[str, MatchTables]
) -> tuple[AveragePrecision, np.ndarray]:
    """(metrics of one model, except oLRP and LaECE; (classes, T, 101) interpolated precision of all objects).

    `matched` has the matches for each size, with one table per category. Metrics of a size that it lacks are None.
    """
    precision, recall = {}, {}
    for size, table in matched.items():
        precision[size], recall[size] = accumulated(table)
    values: dict[str, Any] = {
        metric.key: metric.compute(precision, recall) if metric.size in matched else None for metric in METRICS
    }
    recalls = {f"ar_{size}": _mean(recall[size]) for size in ("small", "medium", "large") if size in matched}
    recalls |= {f"ar_{count}": _mean(recall_at(matched["all"], count)) for count in (1, 10)}
    per_class = tuple(_per_class(categories, matched["all"], precision["all"]))
    return AveragePrecision(name, **values, per_class=per_class, **recalls), precision["all"]


def tables(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> MatchTables:
    """Matches with objects of every size, from which the AP of resamples can be computed.

    This is much faster than `average_precision`.
    """
    return match(dataset, result_rows(detections, classes), ("all",))["all"]


def accumulated(tables: MatchTables) -> tuple[np.ndarray, np.ndarray]:
    """((classes, T, 101) interpolated precision, (classes, T) highest recall); NaN for a class without ground truth."""
    levels = tables.classes[0].levels if tables.classes else 0
    precision = np.full((len(tables.classes), levels, len(tables.recalls)), np.nan)
    recall = np.full((len(tables.classes), levels), np.nan)
    for k, table in enumerate(tables.classes):
        if count := int(table.truths.sum()):
            precision[k], recall[k] = _accumulated(table, count, tables.recalls)
    return precision, recall


def recall_at(tables: MatchTables, detections: int) -> np.ndarray:
    """(classes, T) highest recall with at most `detections` per image and class; NaN without ground truth."""
    recall = np.full((len(tables.classes), tables.classes[0].levels if tables.classes else 0), np.nan)
    short = np.min_scalar_type(tables.images)  # numpy sorts 16-bit integers many times as fast as longer ones
    for k, table in enumerate(tables.classes):
        if count := int(table.truths.sum()):
            order = np.argsort(table.images.astype(short), kind="stable")  # by image, then by falling score
            images = table.images[order]
            counted = np.zeros(len(images), bool)
            counted[order] = np.arange(len(images)) - np.searchsorted(images, images) < detections
            recall[k] = np.count_nonzero(table.true & counted, axis=1) / count
    return recall


def _accumulated(table: ClassTable, count: int, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCOeval.accumulate for one class with `count` objects.

    Only true positives are visited, because only they can raise the interpolated precision.
    """
    true = table.true
    hits = np.count_nonzero(true, axis=1)
    row, position = np.nonzero(true)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(hits) - hits, hits)  # rank of each hit at its threshold, from 0
    false = position - nth  # without those that are ignored
    if table.ignored_bits.any():
        false -= np.cumsum(table.ignored, axis=1, dtype=np.int32)[row, position]
    precision = np.zeros((len(hits), count))
    precision[row, nth] = (nth + 1) / (false + (nth + 1) + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    needed = np.searchsorted(np.arange(1, count + 1) / count, recalls)  # index of a true positive per level
    return best[:, needed], hits / count


def _per_class(categories: Sequence[Category], tables: MatchTables, precision: np.ndarray) -> list[ClassAP]:
    return [
        ClassAP(
            category.name,
            _mean(class_precision),
            _mean(class_precision[IOU50]),
            int(table.truths.sum()),
            int((table.truths > 0).sum()),
        )
        for category, table, class_precision in zip(
            sorted(categories, key=lambda category: category.id), tables.classes, precision, strict=True
        )
    ]


def _mean(values: np.ndarray | Sequence[float]) -> float | None:
    """The mean of the values that are not NaN, or None if there are none."""
    numbers = np.asarray(values)[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else None


COCO_LINES = (
    ("ap", "AP", "0.50:0.95", "all", 100),
    ("ap50", "AP", "0.50", "all", 100),
    ("ap75", "AP", "0.75", "all", 100),
    ("ap_small", "AP", "0.50:0.95", "small", 100),
    ("ap_medium", "AP", "0.50:0.95", "medium", 100),
    ("ap_large", "AP", "0.50:0.95", "large", 100),
    ("ar_1", "AR", "0.50:0.95", "all", 1),
    ("ar_10", "AR", "0.50:0.95", "all", 10),
    ("ar", "AR", "0.50:0.95", "all", 100),
    ("ar_small", "AR", "0.50:0.95", "small", 100),
    ("ar_medium", "AR", "0.50:0.95", "medium", 100),
    ("ar_large", "AR", "0.50:0.95", "large", 100),
)
"""Field of `AveragePrecision`, measure, IoU, size, detections per image and class."""
COCO_NAMES = {"AP": "Average Precision", "AR": "Average Recall"}


def coco_lines(model: AveragePrecision) -> tuple[str, ...]:
    """The twelve lines that `COCOeval.summarize` prints."""
    lines = []
    for field, measure, iou, size, detections in COCO_LINES:
        value = getattr(model, field)
        lines.append(
            f" {COCO_NAMES[measure]:<18} ({measure}) @[ IoU={iou:<9} | area={size:>6} | maxDets={detections:>3} ]"
            f" = {-1.0 if value is None else value:0.3f}"
        )
    return tuple(lines)
