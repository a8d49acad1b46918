"""COCO's twelve figures of a dataset by three routes: qviz, pycocotools and, where it is installed, hotcoco."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from qviz.features.accuracy.ap import average_precision
from qviz.structures import Dataset, Detections

FIGURES = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar_1", "ar_10", "ar", "ar_small", "ar_medium", "ar_large"),
)
"""Fields of `AveragePrecision`, in the order of pycocotools' `stats`."""
TOLERANCE = 1e-9

Figures = list[float]


def own_figures(dataset: Dataset, detections: Mapping[int, Detections]) -> Figures:
    """Ours; -1 for a figure that is unknown, as in pycocotools."""
    classes = {category.id: category.id for category in dataset.categories}
    figures = average_precision("m", dataset, detections, classes).figures
    return [-1.0 if (value := getattr(figures, name)) is None else float(value) for name in FIGURES]


def document_of(dataset: Dataset) -> dict[str, Any]:
    """What qviz has read, as a COCO document; ids of images and annotations are numbers from 1, names are ids."""
    rows = [
        {"image_id": image.id, "category_id": int(category), "bbox": _xywh(box), "iscrowd": int(crowd), "area": area}
        for image in dataset.images
        for category, box, crowd, area in zip(
            image.category_ids, image.boxes, image.is_crowd, image.areas.tolist(), strict=True
        )
    ]
    return {
        "images": [{"id": image.id, "width": 1, "height": 1, "file_name": f"{image.id}"} for image in dataset.images],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
        "categories": [{"id": category.id, "name": f"{category.id}"} for category in dataset.categories],
    }


def rows_of(detections: Mapping[int, Detections], ids: Mapping[int, Any]) -> list[dict[str, Any]]:
    """The detections as a list of COCO results. ids: image id -> id in the document."""
    return [
        {"image_id": ids[image], "category_id": int(class_id), "bbox": _xywh(box), "score": float(score)}
        for image, one in detections.items()
        for box, score, class_id in zip(one.boxes, one.scores, one.class_ids, strict=True)
    ]


def _xywh(box: np.ndarray) -> list[float]:
    x1, y1, x2, y2 = (float(side) for side in box)
    return [x1, y1, x2 - x1, y2 - y1]


def pycocotools_figures(document: Mapping[str, Any], rows: list[dict[str, Any]]) -> Figures:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO()
        truths.dataset = dict(document)
        truths.createIndex()
        evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def hotcoco_figures(document: Mapping[str, Any], rows: list[dict[str, Any]]) -> Figures | None:
    """None if hotcoco is not installed, or refuses the file because an id is below 0."""
    try:
        from hotcoco import COCO, COCOeval
    except ImportError:
        return None
    if any(row["id"] < 0 for row in document["categories"]):
        return None
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(dict(document))
        evaluation = COCOeval(truths, truths.loadRes(rows), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def check_equal(peer: str, ours: Figures, others: Figures) -> None:
    """Raise AssertionError if a figure differs by more than TOLERANCE."""
    for name, value, other in zip(FIGURES, ours, others, strict=True):
        assert math.isclose(value, other, rel_tol=0, abs_tol=TOLERANCE), f"{name} {value}, {peer} {other}"
