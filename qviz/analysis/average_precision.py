"""Average precision, computed by pycocotools.

AP, AP50, AP75, small, medium, large and AR are COCOeval's twelve numbers' first six and its AR at 100 detections.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qviz.analysis.ap_figures import AveragePrecision, ClassAP
from qviz.analysis.match_tables import MatchTables, match_tables
from qviz.structures import Dataset, Detections


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
    found = _results(detections, classes)
    evaluation = _evaluate(dataset, found)
    known = [_known(value) for value in evaluation.stats]
    ap, ap50, ap75, small, medium, large = known[:6]
    rows = tuple(_per_class(dataset, evaluation))
    figures = AveragePrecision(name, ap, ap50, ap75, small, medium, large, known[8], rows)
    curves = evaluation.eval["precision"][0, :, :, 0, -1].T
    return Judged(figures, match_tables(evaluation), np.where(curves < 0, np.nan, curves).astype(np.float32), found)


def _known(value: float) -> float | None:
    """pycocotools says -1 where there is nothing to average."""
    return float(value) if value > -1 else None


def tables(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> MatchTables:
    """What AP of resamples needs of `judge`, in a fraction of its time: all sizes at once, annotated classes alone."""
    annotated = {int(category) for image in dataset.images for category in image.category_ids}
    kept = replace(dataset, categories=tuple(row for row in dataset.categories if row.id in annotated))
    known = {class_id: category for class_id, category in classes.items() if category in annotated}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _prepared(kept, _results(detections, known))
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
    return match_tables(evaluation)


def _evaluate(dataset: Dataset, rows: np.ndarray) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = _prepared(dataset, rows)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _prepared(dataset: Dataset, rows: np.ndarray) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = COCO()
    truths.dataset = _as_coco(dataset)
    truths.createIndex()
    return COCOeval(truths, truths.loadRes(rows) if len(rows) else _no_results(truths), "bbox")


def _no_results(truths: Any) -> Any:
    """pycocotools' loadRes fails on an empty list."""
    from pycocotools.coco import COCO

    found = COCO()
    found.dataset = {**truths.dataset, "annotations": []}
    found.createIndex()
    return found


def _as_coco(dataset: Dataset) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image in dataset.images:
        for box, category, crowd, area in zip(
            image.boxes, image.category_ids, image.is_crowd, image.areas, strict=True
        ):
            x1, y1, x2, y2 = (float(value) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would read as "no match" in COCOeval
                    "image_id": image.id,
                    "category_id": int(category),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [{"id": image.id} for image in dataset.images],
        "annotations": annotations,
        "categories": [{"id": category.id, "name": category.name} for category in dataset.categories],
    }


def _results(detections: Mapping[int, Detections], classes: Mapping[int, int]) -> np.ndarray:
    """(n, 7) image id, x, y, w, h, score, category id, as `COCO.loadRes` takes them; unknown classes left out."""
    rows = [np.empty((0, 7))]
    for image_id, found in detections.items():
        found = found[np.isin(found.class_ids, list(classes))]
        boxes = found.boxes.astype(np.float64)
        categories = [classes[int(class_id)] for class_id in found.class_ids]
        block = np.column_stack([np.full(len(found), image_id), boxes, found.scores, categories])
        block[:, 3:5] -= block[:, 1:3]
        rows.append(block)
    return np.concatenate(rows)


def _per_class(dataset: Dataset, evaluation: Any) -> list[ClassAP]:
    precision = evaluation.eval["precision"]  # [10 IoUs, 101 recalls, classes, 4 areas, 3 maxDets]
    names = {category.id: category.name for category in dataset.categories}
    rows = []
    for k, category in enumerate(evaluation.params.catIds):
        counts = [int(np.sum((image.category_ids == category) & ~image.is_crowd)) for image in dataset.images]
        ap, ap50 = _mean(precision[:, :, k, 0, -1]), _mean(precision[0, :, k, 0, -1])
        rows.append(ClassAP(names[category], ap, ap50, sum(counts), sum(count > 0 for count in counts)))
    return rows


def _mean(values: np.ndarray) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None
