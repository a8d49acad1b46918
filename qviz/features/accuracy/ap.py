"""Average precision as pycocotools computes it: its rule of matching, and its accumulation on tables.

AP, AP50, AP75, small, medium, large and AR are COCOeval's twelve numbers' first six and its AR at 100 detections. The
matches equal pycocotools' one by one, and the figures but for the order of additions (1e-15).

The figures of accuracy: AP of a model, overall and by class, and what a variant loses.

AP, AP50, AP75, small, medium, large and AR lie in [0, 1]; a class without truths has none (None, not 0 and not -1).
Loss is reference minus variant: positive is worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.features.accuracy.coco_matching import ClassTable, MatchTables, match, result_rows
from qviz.structures import Dataset, Detections, Loss

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ClassAP:
    """truths: annotated objects that are no crowd; images: those that show one."""

    label: str
    ap: float | None
    ap50: float | None
    truths: int
    images: int


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """One model on one dataset."""

    name: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    per_class: tuple[ClassAP, ...]

    def figures(self) -> tuple[float | None, ...]:
        """AP, AP50, AP75, small, medium, large, AR."""
        return (self.ap, self.ap50, self.ap75, self.ap_small, self.ap_medium, self.ap_large, self.ar)

    def to_frame(self) -> pd.DataFrame:
        """A row a class."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.per_class])


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """The loss of one class."""

    label: str
    loss: Loss
    truths: int
    images: int

    def to_json(self) -> dict[str, Any]:
        """One flat row."""
        return {"label": self.label, **asdict(self.loss), "truths": self.truths, "images": self.images}


@dataclass(frozen=True, slots=True)
class VariantLoss:
    """All losses of one variant, the worst class first."""

    variant: str
    ap: Loss
    per_class: tuple[ClassLoss, ...]

    def to_frame(self) -> pd.DataFrame:
        """A row a class."""
        import pandas as pd

        return pd.DataFrame([row.to_json() for row in self.per_class])

    def to_json(self) -> dict[str, Any]:
        """As `qviz evaluate --json` prints it."""
        return {"variant": self.variant, "ap": asdict(self.ap), "per_class": [row.to_json() for row in self.per_class]}


IOU50, IOU75 = 0, 5
"""Of the thresholds .50, .55, ... .95."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One model on one dataset: its figures, what was matched by image, and its curves.

    curves: (classes, 101) interpolated precision at IoU .50 over recall 0 to 1, NaN for a class without truths.
    results: (n, 7) image id, x, y, width, height, score, category id of every detection of a known class.
    """

    figures: AveragePrecision
    tables: MatchTables
    curves: np.ndarray
    results: np.ndarray


def judge(
    name: str,
    dataset: Dataset,
    detections: Mapping[int, Detections],
    classes: Mapping[int, int],
) -> Judged:
    """One model's accuracy. detections: by image id, in pixels of the original; classes: class id -> category id."""
    rows = result_rows(detections, classes)
    tables = match(dataset, rows)
    precision, recall = accumulated(tables["all"])
    small, medium, large = (_mean(accumulated(tables[size])[0]) for size in ("small", "medium", "large"))
    ap, ap50, ap75 = _mean(precision), _mean(precision[:, IOU50]), _mean(precision[:, IOU75])
    by_class = tuple(_per_class(dataset, tables["all"], precision))
    figures = AveragePrecision(name, ap, ap50, ap75, small, medium, large, _mean(recall), by_class)
    return Judged(figures, tables["all"], precision[:, IOU50].astype(np.float32), rows)


def tables(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> MatchTables:
    """What AP of resamples needs of `judge`, in a fraction of its time: all sizes at once."""
    return match(dataset, result_rows(detections, classes), ("all",))["all"]


def accumulated(tables: MatchTables) -> tuple[np.ndarray, np.ndarray]:
    """((classes, T, 101) interpolated precision, (classes, T) highest recall); NaN for a class without truths."""
    levels = len(tables.classes[0].true) if tables.classes else 0
    precision = np.full((len(tables.classes), levels, len(tables.recalls)), np.nan)
    recall = np.full((len(tables.classes), levels), np.nan)
    for k, table in enumerate(tables.classes):
        if count := int(table.truths.sum()):
            precision[k], recall[k] = _accumulated(table, count, tables.recalls)
    return precision, recall


def _accumulated(table: ClassTable, count: int, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCOeval.accumulate for one class of `count` truths: precision changes upward only where one is found."""
    found = table.true.sum(axis=1)
    row, place = np.nonzero(table.true)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(found) - found, found)  # of its threshold, from 0
    false = np.cumsum(~table.true & ~table.ignored, axis=1)[row, place]
    precise = np.zeros((len(found), count))
    precise[row, nth] = (nth + 1) / (false + (nth + 1) + np.spacing(1))
    best = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
    needed = np.searchsorted(np.arange(1, count + 1) / count, recalls)  # truths, from 0
    return best[:, needed], found / count


def _per_class(dataset: Dataset, tables: MatchTables, precision: np.ndarray) -> list[ClassAP]:
    categories = sorted(dataset.categories, key=lambda category: category.id)
    return [
        ClassAP(category.name, _mean(own), _mean(own[IOU50]), int(table.truths.sum()), int((table.truths > 0).sum()))
        for category, table, own in zip(categories, tables.classes, precision, strict=True)
    ]


def _mean(values: np.ndarray | Sequence[float]) -> float | None:
    """Of what is known; None where nothing is."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if known.size else None
