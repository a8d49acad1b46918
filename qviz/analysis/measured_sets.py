"""Sets of operators in float, measured on images through an engine: each set on each image once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from qviz.analysis.changes import summarise
from qviz.analysis.detecting import in_order
from qviz.analysis.float_sets import Orders
from qviz.analysis.mixed_detections import Counting, ImageOutcome, Outcomes, outcomes_job
from qviz.analysis.models import LoadedModel
from qviz.engine import Engine
from qviz.errors import ImageError
from qviz.progress import OnProgress
from qviz.structures import EncodedImage

TOGETHER = 4
"""Sets in one job: they share one run of both networks, and stay far from the job's time limit."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One set over images; see `what_if`."""

    agreement: float
    mean_score_delta: float | None
    score_share: float | None


class Measure:
    """Remembers what it has measured. images: those that can be read, known after the first call."""

    def __init__(
        self,
        engine: Engine,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
        counting: Counting,
        on_progress: OnProgress,
    ) -> None:
        self.reference, self.variant, self.images = reference, variant, list(images)
        self.models = reference.blob, variant.blob, (reference.settings, variant.settings)
        self.skipped: list[str] = []
        self._engine, self._counting, self._on_progress = engine, counting, on_progress
        self._known: dict[tuple[Orders, str], ImageOutcome] = {}
        self._sets: set[Orders] = set()

    def __call__(self, sets: Sequence[Orders], images: Sequence[EncodedImage] | None = None) -> list[Tally]:
        """One tally a set. Raises ImageError where no image can be read, ModelError, WorkerError."""
        among = list(self.images if images is None else images)
        for image, jobs in in_order(self._engine, among, lambda image: self._jobs(sets, image)):
            for job in jobs:
                self._take(image, job)
        if not self.images:
            raise ImageError(" ".join(self.skipped[:3]) or "No image was given; sets are measured on images.")
        read = [image for image in among if image in self.images]
        return [_tally([self.outcome(orders, image) for image in read]) for orders in sets]

    def outcome(self, orders: Orders, image: EncodedImage) -> ImageOutcome:
        """What is known already."""
        return self._known[orders, image.digest]

    def finished(self) -> None:
        self._on_progress(len(self._sets), len(self._sets))

    def _jobs(self, sets: Sequence[Orders], image: EncodedImage) -> list[Future[Outcomes]]:
        missing = [orders for orders in dict.fromkeys(sets) if (orders, image.digest) not in self._known]
        return [
            self._engine.submit(outcomes_job, *self.models, image, missing[start : start + TOGETHER], self._counting)
            for start in range(0, len(missing), TOGETHER)
        ]

    def _take(self, image: EncodedImage, job: Future[Outcomes]) -> None:
        try:
            outcomes = job.result()
        except ImageError as error:
            if image in self.images:
                self.images.remove(image)
                self.skipped.append(str(error))
            return
        self._known |= {(orders, image.digest): row for orders, row in outcomes.items()}
        self._sets.update(outcomes)
        self._on_progress(len(self._sets), len(self._sets) + 1)  # how many a search tries is known at its end


def _tally(rows: Sequence[ImageOutcome]) -> Tally:
    summary = summarise((kind for row in rows for kind in row.kinds), (delta for row in rows for delta in row.deltas))
    shares = [share for row in rows for share in row.shares]
    return Tally(summary.agreement, summary.mean_score_delta, float(np.mean(shares)) if shares else None)
