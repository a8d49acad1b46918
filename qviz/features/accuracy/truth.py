"""Images that nobody annotated: what the reference finds on them stands for the truth.

AP is then agreement with the reference, not accuracy: the reference itself has 1, whatever it misses, and a variant is
never credited for being right where the reference is wrong. Objects that the reference scores just above the threshold
count whole and those just below not at all, so a variant that scores all a little lower loses more than it would on
annotations.

Which category of a dataset is which class of a model.

By name: equal without case, spaces, hyphens and underscores; then by SYNONYMS, between what is left on both sides. By
id where one side has no names: category `class 17` is class 17; else class 0 is the category with the lowest id, and so
on.

What does not match is listed, and counts as pycocotools counts it: truths of a category that the model cannot name are
all missed, so that class has AP 0 and lowers the mean (of every model with these labels alike, so a loss stays fair);
detections of a class that no category has are left out, as nobody annotated what they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qviz.detector import PAGE_SCORE, Inspection
from qviz.errors import DatasetError
from qviz.structures import Category, Dataset, DatasetImage, Detections
from qviz.structures.boxes import area

REMARK = (
    f"Nothing is annotated: the reference's own detections from a confidence of {PAGE_SCORE:.2f} stand for the truth."
    " AP is agreement with it, not accuracy, and objects near that confidence weigh too much."
)


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


SYNONYMS = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "tvmonitor": "tv",
    "television": "tv",
    "sofa": "couch",
    "hairdryer": "hairdrier",
}
"""Names of Pascal VOC, mostly, by COCO's; without spaces."""
UNNAMED = "???"
LISTED = 5


@dataclass(frozen=True, slots=True)
class Reconciled:
    """classes: class id -> category id. unmatched_categories: (name, truths), those with most truths first."""

    classes: Mapping[int, int]
    how: Literal["name", "id"]
    unmatched_labels: tuple[str, ...]
    unmatched_categories: tuple[tuple[str, int], ...]

    def sentences(self) -> tuple[str, ...]:
        """What does not match and matters: categories that have objects, and a match by id alone."""
        missed = [f"{name[:60]} ({truths} objects)" for name, truths in self.unmatched_categories if truths]
        said = []
        if missed:
            said.append(
                f"{len(missed)} categories of the dataset are unknown to the model: {_listed(missed)};"
                " their objects count as missed."
            )
        if self.how == "id":
            said.append(
                "Classes and categories were matched by their ids, as one side has no names: check the classes."
            )
        return tuple(said)


def reconcile(labels: Sequence[str], dataset: Dataset) -> Reconciled:
    """A model's labels with a dataset's categories. Raises DatasetError where nothing fits."""
    classes = category_ids(labels, dataset.categories)
    known = set(classes.values())
    counts = _truths(dataset)
    unknown = [(c.name, counts.get(c.id, 0)) for c in dataset.categories if c.id not in known]
    return Reconciled(
        classes=classes,
        how="name" if _by_name(labels, dataset.categories) else "id",
        unmatched_labels=tuple(label for i, label in enumerate(labels) if i not in classes and label != UNNAMED),
        unmatched_categories=tuple(sorted(unknown, key=lambda row: -row[1])),
    )


def category_ids(labels: Sequence[str], categories: Sequence[Category]) -> dict[int, int]:
    """class id -> category id. Raises DatasetError where nothing fits."""
    named = _by_name(labels, categories)
    if named:
        return named
    numbered = {number: c.id for c in categories if (number := _number(c.name)) is not None}
    if categories and len(numbered) == len(categories):
        return numbered
    if all(label == UNNAMED for label in labels):
        return dict(enumerate(sorted(category.id for category in categories)))
    raise DatasetError(
        f"None of the model's {len(labels)} labels ({labels[0]}, ...) is a category of the annotations"
        f" ({', '.join(category.name for category in categories[:3])}, ...). Give the right label file."
    )


def _by_name(labels: Sequence[str], categories: Sequence[Category]) -> dict[int, int]:
    plain = {_plain(category.name): category.id for category in categories if category.name != UNNAMED}
    found = {i: plain[_plain(label)] for i, label in enumerate(labels) if _plain(label) in plain}
    taken = set(found.values())
    left = {_canonical(c.name): c.id for c in categories if c.id not in taken}
    others = {
        i: left[_canonical(label)] for i, label in enumerate(labels) if i not in found and _canonical(label) in left
    }
    return dict(sorted({**found, **others}.items()))


def _plain(name: str) -> str:
    return "".join(name.lower().replace("_", " ").replace("-", " ").split())


def _canonical(name: str) -> str:
    return SYNONYMS.get(_plain(name), _plain(name))


def _number(name: str) -> int | None:
    """17 of `class 17`, which stands where a class has no name."""
    word, _, number = name.partition(" ")
    return int(number) if word == "class" and number.isascii() and number.isdecimal() and len(number) < 10 else None


def _truths(dataset: Dataset) -> dict[int, int]:
    """Objects by category, crowds left out."""
    all_ids = [image.category_ids[~image.is_crowd] for image in dataset.images] or [np.empty(0, np.int64)]
    ids, counts = np.unique(np.concatenate(all_ids), return_counts=True)
    return dict(zip(ids.tolist(), counts.tolist(), strict=True))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
