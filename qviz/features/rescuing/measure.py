"""What a candidate loses on one half of the images; and how the halves are drawn.

Objects are detections as everywhere: AP counts those from `score` on, agreement those from `PAGE_SCORE` on. The
reference runs once a half. An image that it cannot read is left out; a candidate that fails on one has no figures.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError, ModelError
from qviz.features.accuracy.ap import Judged, judge
from qviz.features.accuracy.bootstrap import Bootstrap, draws, interval
from qviz.features.accuracy.truth import category_ids
from qviz.features.comparison.matching import agreed, agreement
from qviz.features.detection.detect import Reading, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing.result import AP, Budget
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage, Detections, EncodedImage, Loss

SEED = 20261128
FEWEST = 8
"""Images of both halves together."""


def halves(dataset: Dataset, seed: int = SEED) -> tuple[Dataset, Dataset]:
    """(search, report), drawn by chance, each in the dataset's order. Raises DatasetError where there are too few."""
    count = len(dataset.images)
    if count < FEWEST:
        raise DatasetError(
            f"{dataset.name} has {count} images; a rescue needs at least {FEWEST}: it searches on one half of them and"
            " reports on the other."
        )
    searched = set(np.random.default_rng(seed).permutation(count)[: (count + 1) // 2].tolist())
    rows = list(enumerate(dataset.images))
    search = tuple(image for position, image in rows if position in searched)
    report = tuple(image for position, image in rows if position not in searched)
    return replace(dataset, images=search), replace(dataset, images=report)


@dataclass(frozen=True, slots=True)
class Figures:
    """One model on one half; ap: None where nothing is annotated."""

    ap: float | None
    agreement: float


class Half:
    """One half, with what the reference finds on it. skipped: why images were left out."""

    def __init__(
        self,
        engine: Engine,
        reference: LoadedModel,
        dataset: Dataset,
        score: float,
        store: Store | None = None,
        threads: int = 1,
        cancel: threading.Event | None = None,
        on_progress: OnProgress = silent,
    ) -> None:
        """Raises Cancelled, DatasetError where no image can be run by the reference."""
        self._engine, self._score, self._store, self._threads = engine, score, store, threads
        self._cancel, self._reference = cancel, reference
        self.skipped: list[str] = []
        self._dataset, self._digests = dataset, self._read(dataset)
        found = self._run(reference, on_progress)
        self._dataset = replace(dataset, images=tuple(image for image in dataset.images if image.id in found))
        if not found:
            raise DatasetError(f"No image could be run by {reference.name}. {' '.join(self.skipped[:3])}".strip())
        self._found = found
        self.is_annotated = any(len(image.category_ids) for image in self._dataset.images)
        self._judged = self._judge(reference, found) if self.is_annotated else None
        self.reference = self.figures(reference, found)

    @property
    def images(self) -> int:
        return len(self._dataset.images)

    @property
    def digest(self) -> str:
        """Of the images and of what is annotated on them."""
        said = hashlib.sha256()
        for image in self._dataset.images:
            said.update(self._digests[image.id].encode())
            for values in (image.boxes, image.category_ids, image.is_crowd, image.areas):
                said.update(np.ascontiguousarray(values).tobytes() + b"\n")
        said.update(repr([(row.id, row.name) for row in self._dataset.categories]).encode())
        return said.hexdigest()

    @property
    def digests(self) -> frozenset[str]:
        """Of the images."""
        return frozenset(self._digests.values())

    def encoded(self, most: int) -> list[EncodedImage]:
        """Some of the images, evenly."""
        rows, count = self._dataset.images, self.images
        return [rows[i * count // min(most, count)].encoded() for i in range(min(most, count))]

    def run(self, model: LoadedModel, on_progress: OnProgress = silent) -> Mapping[int, Detections]:
        """A candidate's detections by image id. Raises Cancelled, ModelError."""
        found = self._run(model, on_progress)
        if len(found) < self.images:
            raise ModelError(f"{model.name} failed on {self.images - len(found)} images. {self.skipped[-1]}")
        return found

    def figures(self, model: LoadedModel, found: Mapping[int, Detections]) -> Figures:
        """What is found, judged."""
        ap = self._judge(model, found).figures.ap if self.is_annotated else None
        counts = self._counts(found)
        return Figures(ap, float(agreement(counts, np.ones((1, len(counts))))[0]))

    def loss(self, figures: Figures, budget: Budget) -> float | None:
        """Reference minus variant, in the budget's measure; None where it is unknown."""
        if budget.measure != AP:
            return 1 - figures.agreement
        known = self.reference.ap, figures.ap
        return None if known[0] is None or known[1] is None else known[0] - known[1]

    def all_of(self, budget: Budget) -> float:
        """The loss of a variant that finds nothing."""
        return (self.reference.ap or 0.0) if budget.measure == AP else 1.0

    def interval(self, model: LoadedModel, found: Mapping[int, Detections], budget: Budget) -> Loss:
        """The loss with its interval."""
        if budget.measure == AP and self._judged is not None:
            judged = self._judge(model, found)
            return Bootstrap(self._judged.tables).loss(self._judged.figures, judged.figures, judged.tables).ap
        counts = self._counts(found)
        lost = 1 - agreement(counts, draws(len(counts)).astype(np.float64))
        low, high = interval(lost, len(counts))
        value = 1 - float(agreement(counts, np.ones((1, len(counts))))[0])
        return Loss(value, low, high, None if low is None else low > 0)

    def _read(self, dataset: Dataset) -> dict[int, str]:
        reading = Reading()
        for _ in reading.of(dataset.images):
            """Noted as it is read, and let go."""
        self.skipped += reading.unread
        return reading.digests

    def _run(self, model: LoadedModel, on_progress: OnProgress) -> dict[int, Detections]:
        rows = [image for image in self._dataset.images if image.id in self._digests]
        detected = detect_images(Context(self._engine, store=self._store, threads=self._threads, progress=Advance(on_progress), cancel=self._cancel), [model], (image.encoded() for image in rows), len(rows), self._score, candidates=False)  # fmt: skip
        self.skipped += detected.skipped
        inferences = {image.id: detected.inferences.get((model.digest, self._digests[image.id])) for image in rows}
        return {id: inference.detections for id, inference in inferences.items() if inference is not None}

    def _judge(self, model: LoadedModel, found: Mapping[int, Detections]) -> Judged:
        classes = category_ids(model.inspection.labels, self._dataset.categories)
        return judge(model.name, self._dataset, found, classes)

    def _counts(self, found: Mapping[int, Detections]) -> np.ndarray:
        """(images, 2) as `agreement` takes them."""
        rows: Sequence[DatasetImage] = self._dataset.images
        return np.array([agreed(self._found[row.id], found[row.id], PAGE_SCORE) for row in rows]).reshape(-1, 2)
