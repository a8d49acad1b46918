"""What annotated objects are taken for, and the images on which a variant finds less than the reference.

Truths and detections of at least a score are paired one to one, same class first, by an IoU of .50 (as objects of two
models are, see `matching`). A truth without a partner is taken for nothing; a detection without one is a false alarm,
unless it lies on a crowd of its class.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qviz.features.comparison.matching import match_detections
from qviz.structures import Dataset, DatasetImage, Detections
from qviz.structures.boxes import covered_matrix

IOU = 0.5
NOTHING = None
"""In a confusion's place of a label: a truth that is missed, or a false alarm."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """truth taken for seen (None: nothing), how often by the reference and by the variant."""

    truth: str | None
    seen: str | None
    reference: int
    variant: int

    @property
    def change(self) -> int:
        return self.variant - self.reference


@dataclass(frozen=True, slots=True)
class ImageLoss:
    """One image: objects found right and false alarms of both models."""

    name: str
    digest: str
    truths: int
    reference_found: int
    variant_found: int
    reference_false: int
    variant_false: int

    @property
    def loss(self) -> int:
        """Objects lost and false alarms added; images are ordered by it."""
        return self.reference_found - self.variant_found + self.variant_false - self.reference_false


@dataclass(frozen=True, slots=True)
class Taken:
    """One model on one dataset: pairs (truth's label, seen label) with their number, and two counts an image.

    found_of: objects found right by (image id, label).
    """

    pairs: Mapping[tuple[str | None, str | None], int]
    found: Mapping[int, int]
    false: Mapping[int, int]
    found_of: Mapping[tuple[int, str], int]


def taken_for(
    dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int], score: float
) -> Taken:
    """detections: by image id, in pixels of the original; classes: class id -> category id."""
    names = {category.id: category.name for category in dataset.categories}
    pairs: Counter[tuple[str | None, str | None]] = Counter()
    found_of: Counter[tuple[int, str]] = Counter()
    found, false = {}, {}
    for image in dataset.images:
        own = _pairs(image, _categories(detections.get(image.id, Detections.none()).above(score), classes))
        found[image.id] = sum(truth == seen for truth, seen in own)
        found_of.update((image.id, names[truth]) for truth, seen in own if truth is not None and truth == seen)
        false[image.id] = sum(truth is None for truth, _ in own)
        pairs.update((names.get(truth), names.get(seen)) for truth, seen in own)  # type: ignore[arg-type]
    return Taken(pairs, found, false, found_of)


def _categories(seen: Detections, classes: Mapping[int, int]) -> Detections:
    """Numbered as the annotations number them; classes that these do not know are left out."""
    seen = seen[np.isin(seen.class_ids, list(classes))]
    return Detections.of(seen.boxes, seen.scores, [classes[int(class_id)] for class_id in seen.class_ids])


def _pairs(image: DatasetImage, seen: Detections) -> list[tuple[int | None, int | None]]:
    alone = ~image.is_crowd
    truths = Detections.of(image.boxes[alone], np.ones(alone.sum()), image.category_ids[alone])
    matches = match_detections(truths, seen, IOU)
    spared = _on_crowd(image, seen)
    return [
        *((int(truths.class_ids[i]), int(seen.class_ids[j])) for i, j in matches.pairs),
        *((int(truths.class_ids[i]), NOTHING) for i in matches.only_reference),
        *((NOTHING, int(seen.class_ids[j])) for j in matches.only_candidate if not spared[j]),
    ]


def _on_crowd(image: DatasetImage, seen: Detections) -> np.ndarray:
    """(n,) of which a crowd of their class covers more than `IOU`."""
    crowds = image.is_crowd
    same = seen.class_ids[:, None] == image.category_ids[crowds][None, :]
    return np.asarray((same & (covered_matrix(seen.boxes, image.boxes[crowds].astype(np.float32)) > IOU)).any(axis=1))


def confusions(reference: Taken, variant: Taken) -> tuple[Confusion, ...]:
    """Every wrong pair of either model, the largest change first."""
    wrong = {pair for pair in (*reference.pairs, *variant.pairs) if pair[0] != pair[1]}
    rows = [Confusion(*pair, reference.pairs.get(pair, 0), variant.pairs.get(pair, 0)) for pair in wrong]
    return tuple(sorted(rows, key=lambda row: (-abs(row.change), str(row.truth), str(row.seen))))


def image_losses(
    dataset: Dataset, digests: Mapping[int, str], reference: Taken, variant: Taken
) -> tuple[ImageLoss, ...]:
    """Every image, the largest loss first."""
    rows = [
        ImageLoss(
            image.name,
            digests.get(image.id, ""),
            int((~image.is_crowd).sum()),
            reference.found[image.id],
            variant.found[image.id],
            reference.false[image.id],
            variant.false[image.id],
        )
        for image in dataset.images
    ]
    return tuple(sorted(rows, key=lambda row: (-row.loss, row.name)))


def worst_image_of(dataset: Dataset, digests: Mapping[int, str], reference: Taken, variant: Taken) -> Mapping[str, str]:
    """label -> digest of the image on which the variant falls most behind the reference; of equals the first."""
    names = {category.id: category.name for category in dataset.categories}
    worst: dict[str, tuple[int, str]] = {}
    for image in dataset.images:
        for label in {names[int(category)] for category in image.category_ids[~image.is_crowd]}:
            place = image.id, label
            lost = reference.found_of.get(place, 0) - variant.found_of.get(place, 0)
            if label not in worst or lost > worst[label][0]:
                worst[label] = lost, digests.get(image.id, "")
    return {label: digest for label, (_, digest) in worst.items()}
