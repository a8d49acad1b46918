"""One model under one shift, over all images: a cell of the sweep, and the worker's job that fills it.

ap           AP against the truths, None where nothing is annotated; with its draws over resamples of the images
agreement    with the clean reference's objects (see `changes`), with its draws
mean_score   mean over the clean reference's objects of the confidence they have here (see `found_again`), 0 if gone
still_found  share of this model's own clean objects that are found here
Objects are detections of at least `PAGE_SCORE`; where the shift moves the boxes, they and the truths move with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from qviz.corruptions import moved_boxes
from qviz.detector import PAGE_SCORE
from qviz.features.accuracy.ap import tables
from qviz.features.accuracy.bootstrap import RESAMPLES, draws
from qviz.features.accuracy.coco_matching import mean_ap
from qviz.features.comparison.matching import agreed, agreement, confidences
from qviz.structures import AppliedCorruption, Dataset, DatasetImage, Detections, EncodedImage
from qviz.structures.boxes import area


@dataclass(frozen=True, slots=True, eq=False)
class CellImage:
    """One image: its truths, size and digest without shift, and what is found on it.

    reference, own: objects of the clean reference and of this model on the clean image; found: under the shift.
    """

    truths: DatasetImage
    size: tuple[int, int]
    digest: str
    reference: Detections
    own: Detections
    found: Detections

    def under(self, shift: AppliedCorruption | None) -> CellImage:
        """Truths and clean objects where the shift puts them; those that it pushes out are not asked for."""
        if shift is None:
            return self
        image = EncodedImage(self.truths.name, b"", self.digest).under(shift)
        boxes, kept = moved_boxes(self.truths.boxes, self.size, image)
        if boxes is self.truths.boxes:
            return self
        said = self.truths
        truths = replace(
            said,
            boxes=boxes[kept],
            category_ids=said.category_ids[kept],
            is_crowd=said.is_crowd[kept],
            areas=_areas(said, boxes)[kept],
        )
        reference, own = (_moved(found, self.size, image) for found in (self.reference, self.own))
        return replace(self, truths=truths, reference=reference, own=own)


def _moved(found: Detections, size: tuple[int, int], image: EncodedImage) -> Detections:
    boxes, kept = moved_boxes(found.boxes, size, image)
    return replace(found, boxes=boxes.astype(np.float32))[kept]


def _areas(said: DatasetImage, boxes: np.ndarray) -> np.ndarray:
    """A segmentation keeps its share of the box."""
    before = np.maximum(area(said.boxes), 1e-9)
    return np.asarray(said.areas * area(boxes) / before, float)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What is known of one model under one shift; draws (R,) of the same resamples for all cells."""

    ap: float | None
    ap_draws: np.ndarray | None
    agreement: float
    agreement_draws: np.ndarray
    mean_score: float | None
    still_found: float | None

    @property
    def value(self) -> float | None:
        """AP, or agreement where nothing is annotated."""
        return self.agreement if self.ap_draws is None else self.ap

    @property
    def draws(self) -> np.ndarray:
        return self.agreement_draws if self.ap_draws is None else self.ap_draws


def cell_job(
    images: Sequence[CellImage], dataset: Dataset | None, classes: Mapping[int, int], shift: AppliedCorruption | None
) -> Cell:
    """In a worker. dataset: categories and no images; None where nothing is annotated."""
    seen = [image.under(shift) for image in images]
    counts = np.array([agreed(row.reference, row.found, PAGE_SCORE) for row in seen]).reshape(-1, 2)
    weights = _weights(len(seen))
    once = np.ones((1, len(seen)))
    there = [confidences(row.reference, row.found) for row in seen]
    again = [confidences(row.own, row.found) >= PAGE_SCORE for row in seen]
    ap, ap_draws = (None, None) if dataset is None else _ap(seen, dataset, classes, weights)
    return Cell(
        ap=ap,
        ap_draws=ap_draws,
        agreement=float(agreement(counts, once)[0]),
        agreement_draws=agreement(counts, weights),
        mean_score=_mean(there),
        still_found=_mean(again),
    )


def _ap(
    seen: Sequence[CellImage], dataset: Dataset, classes: Mapping[int, int], weights: np.ndarray
) -> tuple[float | None, np.ndarray]:
    truths = replace(dataset, images=tuple(row.truths for row in seen))
    matched = tables(truths, {row.truths.id: row.found for row in seen}, classes)
    if not matched.classes:
        return None, np.full(len(weights), np.nan)  # the shift has pushed every object out
    value, *drawn = mean_ap(matched.class_ap(np.vstack([np.ones(len(seen)), weights])))
    return None if np.isnan(value) else float(value), np.array(drawn)


def _mean(rows: Sequence[np.ndarray]) -> float | None:
    values = np.concatenate([np.empty(0), *rows])
    return float(values.mean()) if len(values) else None


@lru_cache(maxsize=2)
def _weights(images: int) -> np.ndarray:
    """The same resamples for every cell: that makes the bootstrap a paired one."""
    return draws(images, RESAMPLES).astype(np.float64)
