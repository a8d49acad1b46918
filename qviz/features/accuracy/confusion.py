"""The class that is detected for each annotated object, and the images on which a variant finds fewer objects.

Objects are paired one to one with detections above a confidence threshold, same class first, at an IoU of .50.
`matching` pairs the objects of two models in the same way. An object without a partner is missed; a detection without
a partner is a false alarm, unless it lies on a crowd of its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qviz.features.comparison.matching import match_detections
from qviz.structures import Dataset, DatasetImage, Detections
from qviz.structures.boxes import covered_matrix

IOU = 0.5


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often objects of one class are detected as another class, by the reference and by the variant.

    Attributes:
        truth: Annotated class; None for a false alarm.
        detected: Detected class; None for a missed object. In JSON this is `seen`.
    """

    JSON_NAMES: ClassVar = {"detected": "seen"}

    truth: str | None
    detected: str | None
    reference: int
    variant: int

    @property
    def change(self) -> int:
        """The variant's count minus the reference's; positive is worse."""
        return self.variant - self.reference


@dataclass(frozen=True, slots=True)
class ImageLoss:
    """One image: how many objects each model finds with the right class, and how many false alarms it has."""

    JSON_ALSO: ClassVar = ("loss",)

    name: str
    digest: str
    truths: int
    reference_found: int
    variant_found: int
    reference_false: int
    variant_false: int

    @property
    def loss(self) -> int:
        """Number of lost objects plus number of added false alarms."""
        return self.reference_found - self.variant_found + self.variant_false - self.reference_false


@dataclass(frozen=True, slots=True)
class ModelConfusions:
    """One model on one dataset.

    Attributes:
        pairs: (annotated class, detected class) -> number of such pairs. A class may be None, as in `Confusion`.
        correct: Image id -> number of objects found with the right class.
        false_alarms: Image id -> number of false alarms.
        correct_by_class: (image id, class) -> number of objects found with the right class.
    """

    pairs: Mapping[tuple[str | None, str | None], int]
    correct: Mapping[int, int]
    false_alarms: Mapping[int, int]
    correct_by_class: Mapping[tuple[int, str], int]

    @classmethod
    def merged(cls, parts: Sequence[ModelConfusions]) -> ModelConfusions:
        """The confusions on the images of all parts, none of which is in two parts."""
        pairs: Counter[tuple[str | None, str | None]] = Counter()
        correct: dict[int, int] = {}
        false_alarms: dict[int, int] = {}
        correct_by_class: dict[tuple[int, str], int] = {}
        for part in parts:
            pairs.update(part.pairs)
            correct.update(part.correct)
            false_alarms.update(part.false_alarms)
            correct_by_class.update(part.correct_by_class)
        return cls(pairs, correct, false_alarms, correct_by_class)


def model_confusions(
    dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int], score: float
) -> ModelConfusions:
    """The confusions of one model. Only detections with a confidence of at least `score` count.

    `detections` maps image ids to detections in pixels of the original image; `classes` maps class ids to category ids.
    """
    names = {category.id: category.name for category in dataset.categories}
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    correct_by_class: Counter[tuple[int, str]] = Counter()
    correct, false_alarms = {}, {}
    for image in dataset.images:
        image_detections = detections.get(image.id, Detections.none()).above(score)
        rows = _pairs(image, _with_categories(image_detections, classes))
        correct[image.id] = sum(truth == detected for truth, detected in rows)
        false_alarms[image.id] = sum(truth is None for truth, _ in rows)
        correct_by_class.update(
            (image.id, names[truth]) for truth, detected in rows if truth is not None and truth == detected
        )
        pairs.update((names.get(truth), names.get(detected)) for truth, detected in rows)  # type: ignore[arg-type]
    return ModelConfusions(pairs, correct, false_alarms, correct_by_class)


def _with_categories(detections: Detections, classes: Mapping[int, int]) -> Detections:
    """The detections, with category ids in place of class ids. Detections of a class without category are left out."""
    detections = detections[np.isin(detections.class_ids, list(classes))]
    category_ids = [classes[int(class_id)] for class_id in detections.class_ids]
    return Detections.of(detections.boxes, detections.scores, category_ids)


def _pairs(image: DatasetImage, detections: Detections) -> list[tuple[int | None, int | None]]:
    """(category of the object or None, category of the detection or None) of each pair, miss and false alarm."""
    single = ~image.is_crowd
    truths = Detections.of(image.boxes[single], np.ones(single.sum()), image.category_ids[single])
    matches = match_detections(truths, detections, IOU)
    on_crowd = _on_crowd(image, detections)
    return [
        *((int(truths.class_ids[i]), int(detections.class_ids[j])) for i, j in matches.pairs),
        *((int(truths.class_ids[i]), None) for i in matches.only_reference),
        *((None, int(detections.class_ids[j])) for j in matches.only_variant if not on_crowd[j]),
    ]


def _on_crowd(image: DatasetImage, detections: Detections) -> np.ndarray:
    """(n,) whether a crowd of the same class covers more than a share of `IOU` of each detection."""
    crowds = image.is_crowd
    same_class = detections.class_ids[:, None] == image.category_ids[crowds][None, :]
    covered = covered_matrix(detections.boxes, image.boxes[crowds].astype(np.float32)) > IOU
    return np.asarray((same_class & covered).any(axis=1))


def confusions(reference: ModelConfusions, variant: ModelConfusions) -> tuple[Confusion, ...]:
    """Every pair of classes that either model confuses, the largest change first."""
    wrong = {pair for pair in (*reference.pairs, *variant.pairs) if pair[0] != pair[1]}
    rows = [Confusion(*pair, reference.pairs.get(pair, 0), variant.pairs.get(pair, 0)) for pair in wrong]
    return tuple(sorted(rows, key=lambda row: (-abs(row.change), str(row.truth), str(row.detected))))


def image_losses(
    dataset: Dataset, digests: Mapping[int, str], reference: ModelConfusions, variant: ModelConfusions
) -> tuple[ImageLoss, ...]:
    """The objects found and the false alarms of both models on every image, the largest loss first."""
    rows = [
        ImageLoss(
            image.name,
            digests.get(image.id, ""),
            int((~image.is_crowd).sum()),
            reference.correct[image.id],
            variant.correct[image.id],
            reference.false_alarms[image.id],
            variant.false_alarms[image.id],
        )
        for image in dataset.images
    ]
    return tuple(sorted(rows, key=lambda row: (-row.loss, row.name)))


def worst_image_of(
    dataset: Dataset, digests: Mapping[int, str], reference: ModelConfusions, variant: ModelConfusions
) -> Mapping[str, str]:
    """Class -> digest of the image on which the variant loses most of its objects; the first one if several tie."""
    names = {category.id: category.name for category in dataset.categories}
    worst: dict[str, tuple[int, str]] = {}
    for image in dataset.images:
        for label in {names[int(category)] for category in image.category_ids[~image.is_crowd]}:
            key = image.id, label
            lost = reference.correct_by_class.get(key, 0) - variant.correct_by_class.get(key, 0)
            if label not in worst or lost > worst[label][0]:
                worst[label] = lost, digests.get(image.id, "")
    return {label: digest for label, (_, digest) in worst.items()}
