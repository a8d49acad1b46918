"""Small constructed scenes: boxes of 100 x 100 pixels in a row, of cats (category 3, class 0) and dogs (7, class 1)."""

from __future__ import annotations

import numpy as np

from qviz.features.accuracy import LossDetail, ModelAccuracy, loss_detail, model_accuracy
from qviz.structures import Category, Dataset, DatasetImage, Detections

CAT, DOG = 3, 7
CLASSES = {0: CAT, 1: DOG}
CATEGORIES = (Category(CAT, "cat"), Category(DOG, "dog"))

Truth = tuple[float, int] | tuple[float, int, bool]


def image(number: int, *truths: Truth, source_id: int | str | None = None) -> DatasetImage:
    """An annotated image. truths: (left edge, category) or (left edge, category, whether it is a crowd)."""
    boxes = np.array([[row[0], 0, row[0] + 100, 100] for row in truths], np.float64).reshape(-1, 4)
    ids = np.array([row[1] for row in truths], np.int64)
    crowd = np.array([len(row) > 2 and row[2] for row in truths], bool)
    name = f"{number}.jpg"
    return DatasetImage(number, name, b"", boxes, ids, crowd, np.full(len(ids), 1e4), source_id=source_id)


def detected(*objects: tuple[float, int, float]) -> Detections:
    """Detections of objects, each (left edge, class id, score)."""
    boxes = [[left, 0, left + 100, 100] for left, *_ in objects]
    return Detections.of(boxes, [score for *_, score in objects], [class_id for _, class_id, _ in objects])


def dataset(*images: DatasetImage) -> Dataset:
    return Dataset("d", images, CATEGORIES)


def accuracy(name: str, truths: Dataset, detections: dict[int, Detections]) -> ModelAccuracy:
    return model_accuracy(name, truths, detections, CLASSES)


def detail(truths: Dataset, reference: dict[int, Detections], variant: dict[int, Detections]) -> LossDetail:
    digests = {row.id: f"digest {row.id}" for row in truths.images}
    return loss_detail(truths, digests, accuracy("r", truths, reference), accuracy("v", truths, variant))
