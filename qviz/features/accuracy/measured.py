"""The images and ground truth of a finished evaluation, from which more can be computed without running a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from qviz.detector import PAGE_SCORE
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.coco.matching import match
from qviz.features.accuracy.coco.tables import MatchTables
from qviz.features.accuracy.operating import Operating, operate, reaches, with_recoveries
from qviz.features.accuracy.operating_at import At
from qviz.features.accuracy.truth import with_classes
from qviz.structures import Category, Dataset, DatasetImage


def measured_dataset(evaluation: Evaluation, dataset: Dataset) -> Dataset:
    """The dataset reduced to the images and categories that counted in the evaluation.

    `dataset` is the one that was evaluated. If the reference's detections were the ground truth, they replace the
    annotations here as well.
    """
    images = tuple(image for image in dataset.images if image.id in evaluation.image_ids)
    labels = [row.label for row in evaluation.models[0].per_class]
    if not evaluation.reference_as_truth:
        return with_classes(replace(dataset, images=images), labels)
    rows = evaluation.results[0]
    rows = rows[reaches(rows[:, 5], PAGE_SCORE)]
    numbers = sorted({int(number) for number in rows[:, 6]})
    categories = tuple(Category(number, label) for number, label in zip(numbers, labels, strict=True))
    return replace(dataset, images=tuple(_with_rows(image, rows) for image in images), categories=categories)


def _with_rows(image: DatasetImage, rows: np.ndarray) -> DatasetImage:
    objects = rows[rows[:, 0] == image.id]
    boxes = objects[:, 1:5].copy()
    boxes[:, 2:] += boxes[:, :2]
    areas = objects[:, 3] * objects[:, 4]
    crowds = np.zeros(len(objects), bool)
    category_ids = objects[:, 6].astype(np.int64)
    image = replace(image, object_fields={}, keypoints=None, masks=None)
    return replace(image, boxes=boxes, category_ids=category_ids, is_crowd=crowds, areas=areas)


def operating_at(evaluation: Evaluation, dataset: Dataset, at: At) -> Operating:
    """All models at another operating point, without running them. Raises SettingsError if `at` does not fit."""
    measured = measured_dataset(evaluation, dataset)
    tables: list[MatchTables] = [match(measured, rows, ("all",))["all"] for rows in evaluation.results]
    labels = [row.label for row in evaluation.models[0].per_class]
    operating = operate([model.name for model in evaluation.models], labels, tables, at)
    return with_recoveries(operating, labels, tables, at)


def coco_results(evaluation: Evaluation, model_index: int) -> list[dict[str, Any]]:
    """The detections of one model (0 is the reference) in COCO's results format, for COCOeval and other tools.

    `bbox` is x, y, width, height in pixels of the original image; the ids are those of the annotation file.
    """
    return [
        {
            "image_id": evaluation.image_ids[int(row[0])],
            "category_id": int(row[6]),
            "bbox": row[1:5],
            "score": row[5],
        }
        for row in evaluation.results[model_index].tolist()
    ]
