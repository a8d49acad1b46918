"""The ground truth of an evaluation: match categories with classes, or use the reference's detections instead.

Categories are matched with classes by name, ignoring case, spaces, hyphens and underscores. Names that are left over on
both sides are then matched by `SYNONYMS`. If one side has no names, ids are matched: a category named `class 17` is
class 17; without such names, class 0 is the category with the lowest id, and so on.

Categories and classes that do not match are listed, and count as in pycocotools. If a category has no class, all its
objects are missed; its AP of 0 lowers the mean. This affects every model with the same labels equally, so losses stay
comparable. Detections of a class without a category are left out, because such objects were not annotated.

If the reference's detections are used as ground truth, AP measures agreement with the reference, not accuracy. The
reference has AP 1 even if it misses objects, and a variant does not gain by being right where the reference is wrong.
An object that the reference scores just above the threshold counts fully; one just below does not count. A variant with
slightly lower scores therefore loses more than it would with annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qviz.datasets.labels import UNNAMED, canonical_name, plain_name
from qviz.detector import PAGE_SCORE, Inspection
from qviz.errors import DatasetError
from qviz.formatting import listed, plural
from qviz.structures import Category, Dataset, DatasetImage, Detections, GroundTruth
from qviz.structures.boxes import area

REMARK = (
    f"Nothing is annotated: the reference's own detections with a confidence of at least {PAGE_SCORE:.2f} serve as"
    " the ground truth."
    " AP is agreement with it, not accuracy, and objects near that confidence weigh too much."
)


def as_truths(dataset: Dataset, detections: Mapping[int, Detections], reference: Inspection) -> Dataset:
    """The dataset with the reference's detections as ground truth. Category ids are the reference's class ids.

    detections: image id -> detections.
    """
    images = tuple(_with_truths(image, detections[image.id].above(PAGE_SCORE)) for image in dataset.images)
    class_ids = {int(class_id) for image in images for class_id in image.category_ids}
    categories = (Category(class_id, reference.label(class_id)) for class_id in sorted(class_ids))
    return replace(dataset, images=images, categories=tuple(categories))


def _with_truths(image: DatasetImage, detections: Detections) -> DatasetImage:
    return replace(
        image,
        boxes=detections.boxes.astype(np.float64),
        category_ids=detections.class_ids.astype(np.int64),
        is_crowd=np.zeros(len(detections), bool),
        areas=area(detections.boxes).astype(np.float64),
        object_fields={},
        keypoints=None,
        masks=None,
    )


def labelled_truths(image: DatasetImage, dataset: Dataset, labels: Sequence[str]) -> GroundTruth:
    """An image's ground truth, with class ids of a model. Objects for which the model has no class are left out."""
    classes = {category: class_id for class_id, category in category_ids(labels, dataset.categories).items()}
    named = np.isin(image.category_ids, list(classes))
    return GroundTruth(
        image.boxes[named].astype(np.float32),
        np.array([classes[int(category)] for category in image.category_ids[named]], np.int32),
        image.is_crowd[named],
    )


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The matches between a model's labels and a dataset's categories.

    Attributes:
        classes: Class id -> category id.
        how: Whether they were matched by name or by id.
        unmatched_labels: Labels without a matching category.
        unmatched_categories: (name, number of objects) of each category without a matching label, the most frequent
            first. Categories with the same name as a matched one (`shared_names`) are not listed.
    """

    classes: Mapping[int, int]
    how: Literal["name", "id"]
    unmatched_labels: tuple[str, ...]
    unmatched_categories: tuple[tuple[str, int], ...]

    def sentences(self) -> tuple[str, ...]:
        """Sentences about mismatches that matter: unmatched categories that have objects, and matching by id only."""
        missed = [
            f"{name[:60]} ({plural(objects, 'object')})" for name, objects in self.unmatched_categories if objects
        ]
        sentences = []
        if missed:
            sentences.append(
                f"{len(missed)} of the dataset's categories {'is' if len(missed) == 1 else 'are'} unknown to the"
                f" model: {listed(missed, 5)}. Their objects count as missed."
            )
        if self.how == "id":
            sentences.append(
                "Classes and categories were matched by their ids, as one side has no names: check the classes."
            )
        return tuple(sentences)


def reconcile(labels: Sequence[str], dataset: Dataset) -> Reconciled:
    """Match a model's labels with a dataset's categories. Raises DatasetError if nothing matches."""
    classes = category_ids(labels, dataset.categories)
    matched = set(classes.values())
    counts = _object_counts(dataset)
    names = {plain_name(c.name) for c in dataset.categories if c.id in matched}
    unknown = [c for c in dataset.categories if c.id not in matched and plain_name(c.name) not in names]
    return Reconciled(
        classes=classes,
        how="name" if _by_name(labels, dataset.categories) else "id",
        unmatched_labels=tuple(label for i, label in enumerate(labels) if i not in classes and label != UNNAMED),
        unmatched_categories=tuple(sorted(((c.name, counts.get(c.id, 0)) for c in unknown), key=lambda row: -row[1])),
    )


def category_ids(labels: Sequence[str], categories: Sequence[Category]) -> dict[int, int]:
    """Class id -> category id. Raises DatasetError if nothing matches."""
    named = _by_name(labels, categories)
    if named:
        return named
    numbered = {number: c.id for c in categories if (number := _class_number(c.name)) is not None}
    if categories and len(numbered) == len(categories):
        return numbered
    if all(label == UNNAMED for label in labels):
        return dict(enumerate(sorted(category.id for category in categories)))
    raise DatasetError(
        f"None of the model's {plural(len(labels), 'label')} ({labels[0]}, ...) is a category of the annotations"
        f" ({', '.join(category.name for category in categories[:3])}, ...). Give the right label file."
    )


def _by_name(labels: Sequence[str], categories: Sequence[Category]) -> dict[int, int]:
    plain = {plain_name(category.name): category.id for category in categories if category.name != UNNAMED}
    exact = {i: plain[plain_name(label)] for i, label in enumerate(labels) if plain_name(label) in plain}
    matched = set(exact.values())
    left = {canonical_name(c.name): c.id for c in categories if c.id not in matched}
    synonyms = {
        i: left[canonical_name(label)]
        for i, label in enumerate(labels)
        if i not in exact and canonical_name(label) in left
    }
    return dict(sorted({**exact, **synonyms}.items()))


def with_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The dataset with only these categories and all of its images. Raises DatasetError for an unknown name."""
    by_name: dict[str, list[Category]] = {}
    for category in dataset.categories:
        by_name.setdefault(plain_name(category.name), []).append(category)
    if unknown := [name for name in names if plain_name(name) not in by_name]:
        raise DatasetError(
            f"{dataset.name} has no category {unknown[0][:60]!r}; it has"
            f" {listed([category.name for category in dataset.categories], 10) or 'none'}."
        )
    chosen = {category.id for name in names for category in by_name[plain_name(name)]}
    images = (image.with_objects(np.isin(image.category_ids, list(chosen))) for image in dataset.images)
    categories = tuple(category for category in dataset.categories if category.id in chosen)
    return replace(dataset, images=tuple(images), categories=categories)


def shared_names(categories: Sequence[Category]) -> dict[str, list[int]]:
    """Name -> ids, for names that several categories share. Case, spaces, hyphens and underscores are ignored."""
    ids: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for category in categories:
        if category.name != UNNAMED:
            ids.setdefault(names.setdefault(plain_name(category.name), category.name), []).append(category.id)
    return {name: numbers for name, numbers in ids.items() if len(numbers) > 1}


def _class_number(name: str) -> int | None:
    """The number in a placeholder name such as `class 17`, which stands for a class without a name; else None."""
    word, _, number = name.partition(" ")
    return int(number) if word == "class" and number.isascii() and number.isdecimal() and len(number) < 10 else None


def _object_counts(dataset: Dataset) -> dict[int, int]:
    """Category id -> number of objects, without crowds."""
    all_ids = [image.category_ids[~image.is_crowd] for image in dataset.images] or [np.empty(0, np.int64)]
    ids, counts = np.unique(np.concatenate(all_ids), return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))
