"""Images that nobody annotated: what the reference finds on them stands for the truth.

AP is then agreement with the reference, not accuracy: the reference itself has 1, whatever it misses, and a variant is
never credited for being right where the reference is wrong. Objects that the reference scores just above the threshold
count whole and those just below not at all, so a variant that scores all a little lower loses more than it would on
annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from qviz.detector import PAGE_SCORE, Inspection
from qviz.structures import Category, Dataset, DatasetImage, Detections, EncodedImage
from qviz.structures.boxes import area

REMARK = (
    f"Nothing is annotated: the reference's own detections from a confidence of {PAGE_SCORE:.2f} stand for the truth."
    " AP is agreement with it, not accuracy, and objects near that confidence weigh too much."
)


def unannotated(folder: Path, paths: Sequence[Path]) -> Dataset:
    """Image files alone, as a dataset without categories."""
    images = (DatasetImage(number, path.name, path, None, *_nothing()) for number, path in enumerate(paths, start=1))
    return Dataset(folder.name, tuple(images), ())


def unannotated_images(name: str, images: Sequence[EncodedImage]) -> Dataset:
    """Images in memory, as a dataset without categories."""
    rows = (
        DatasetImage(number, image.name, None, image.data, *_nothing(), image.size)
        for number, image in enumerate(images, start=1)
    )
    return Dataset(name, tuple(rows), ())


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """No boxes, category ids, crowds and areas."""
    return np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0)


def as_truths(dataset: Dataset, found: Mapping[int, Detections], reference: Inspection) -> Dataset:
    """The dataset with the reference's detections (by image id) for truths; category ids are its class ids."""
    images = tuple(_with_truths(image, found[image.id].above(PAGE_SCORE)) for image in dataset.images)
    seen = {int(class_id) for image in images for class_id in image.category_ids}
    categories = (Category(number, reference.label(number)) for number in sorted(seen))
    return replace(dataset, images=images, categories=tuple(categories))


def _with_truths(image: DatasetImage, found: Detections) -> DatasetImage:
    return replace(
        image,
        boxes=found.boxes.astype(np.float64),
        category_ids=found.class_ids.astype(np.int64),
        is_crowd=np.zeros(len(found), bool),
        areas=area(found.boxes).astype(np.float64),
    )
