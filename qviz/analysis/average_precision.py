"""Average precision as pycocotools computes it: its matching, and its accumulation on tables.

AP, AP50, AP75, small, medium, large and AR are COCOeval's twelve numbers' first six and its AR at 100 detections. They
equal pycocotools' own accumulation but for the order of additions (1e-15).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.analysis.ap_figures import AveragePrecision, ClassAP
from qviz.analysis.coco_matching import match, result_rows
from qviz.analysis.match_tables import ClassTable, MatchTables
from qviz.structures import Dataset, Detections

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
    by_class = tuple(_per_class(dataset, precision))
    figures = AveragePrecision(name, ap, ap50, ap75, small, medium, large, _mean(recall), by_class)
    return Judged(figures, tables["all"], precision[:, IOU50].astype(np.float32), rows)


def tables(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> MatchTables:
    """What AP of resamples needs of `judge`, in a fraction of its time: all sizes at once."""
    return match(dataset, result_rows(detections, classes), ("all",))["all"]


def accumulated(tables: MatchTables) -> tuple[np.ndarray, np.ndarray]:
    """((classes, T, 101) interpolated precision, (classes, T) highest recall); NaN for a class without truths."""
    both = [_accumulated(table, tables.recalls) for table in tables.classes]
    return np.stack([precision for precision, _ in both]), np.stack([recall for _, recall in both])


def _accumulated(table: ClassTable, recalls: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """COCOeval.accumulate for one class."""
    count = int(table.truths.sum())
    if not count:
        return np.full((len(table.true), len(recalls)), np.nan), np.full(len(table.true), np.nan)
    precision, recall = np.zeros((len(table.true), len(recalls))), np.zeros(len(table.true))
    found = np.cumsum(table.true, axis=1, dtype=np.float64)
    false = np.cumsum(~table.true & ~table.ignored, axis=1, dtype=np.float64)
    if found.shape[1]:
        precise = found / (false + found + np.spacing(1))
        best = np.maximum.accumulate(precise[:, ::-1], axis=1)[:, ::-1]
        for t, row in enumerate(found / count):
            reached = np.searchsorted(row, recalls, side="left")
            inside = reached < len(row)
            precision[t, inside] = best[t, reached[inside]]
            recall[t] = row[-1]
    return precision, recall


def _per_class(dataset: Dataset, precision: np.ndarray) -> list[ClassAP]:
    rows = []
    for category, own in zip(sorted(dataset.categories, key=lambda category: category.id), precision, strict=True):
        counts = [int(np.sum((image.category_ids == category.id) & ~image.is_crowd)) for image in dataset.images]
        shown = sum(count > 0 for count in counts)
        rows.append(ClassAP(category.name, _mean(own), _mean(own[IOU50]), sum(counts), shown))
    return rows


def _mean(values: np.ndarray | Sequence[float]) -> float | None:
    """Of what is known; None where nothing is."""
    known = np.asarray(values)[~np.isnan(values)]
    return float(known.mean()) if known.size else None
