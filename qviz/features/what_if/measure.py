"""Sets of operators in float, measured on images by the workers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from qviz.context import Context
from qviz.errors import ImageError
from qviz.features.comparison.matching import Change, summarise
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.what_if.mixed import ImageOutcome, Matching, Outcomes, outcomes_job
from qviz.features.what_if.sets import Orders
from qviz.structures import EncodedImage

SETS_PER_JOB = 4
"""They share one run of both networks, and stay far below the job's time limit."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One set over all images; see `what_if`."""

    agreement: float
    mean_score_delta: float | None
    score_share: float | None


class Measure:
    """Measures sets of operators in float, each on each image once.

    Attributes:
        images: Those that can be read; known after the first call.
        skipped: One sentence per image that cannot.
    """

    def __init__(
        self,
        context: Context,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
        matching: Matching,
    ) -> None:
        self.reference, self.variant, self.images = reference, variant, list(images)
        self.pair = pair_of(reference, variant)
        self.skipped: list[str] = []
        self._context, self._matching = context, matching
        self._outcomes: dict[tuple[Orders, str], ImageOutcome] = {}
        self._sets: set[Orders] = set()

    def __call__(self, sets: Sequence[Orders], images: Sequence[EncodedImage] | None = None) -> list[Tally]:
        """One tally per set. Raises ImageError where no image can be read, Cancelled, ModelError, WorkerError."""
        chosen = list(self.images if images is None else images)
        for image, jobs in in_order(self._context, chosen, lambda image: self._jobs(sets, image)):
            for job in jobs:
                self._add(image, job)
        if not self.images:
            raise ImageError(" ".join(self.skipped[:3]) or "No image was given; sets are measured on images.")
        read = [image for image in chosen if image in self.images]
        return [_tally([self.outcome(orders, image) for image in read]) for orders in sets]

    def outcome(self, orders: Orders, image: EncodedImage) -> ImageOutcome:
        """The result of a set that was measured on this image."""
        return self._outcomes[orders, image.digest]

    def finished(self) -> None:
        """Report that no more sets will be measured."""
        self._context.progress.advance(len(self._sets), len(self._sets))

    def most_affected(self, count: int, with_scores: bool = False) -> list[EncodedImage]:
        """The images on which the variant as it is differs most, by objects; with_scores: and by lost confidence."""

        def damage(image: EncodedImage) -> float:
            outcome = self.outcome(frozenset(), image)
            changed = sum(change not in (Change.KEPT, Change.SHIFTED) for change in outcome.changes)
            return changed + sum(1 - share for share in outcome.shares) if with_scores else changed

        return sorted(self.images, key=lambda image: -damage(image))[:count]

    def _jobs(self, sets: Sequence[Orders], image: EncodedImage) -> list[Future[Outcomes]]:
        missing = [orders for orders in dict.fromkeys(sets) if (orders, image.digest) not in self._outcomes]
        return [
            self._context.engine.submit(
                outcomes_job, self.pair, image, missing[start : start + SETS_PER_JOB], self._matching
            )
            for start in range(0, len(missing), SETS_PER_JOB)
        ]

    def _add(self, image: EncodedImage, job: Future[Outcomes]) -> None:
        try:
            outcomes = job.result()
        except ImageError as error:
            if image in self.images:
                self.images.remove(image)
                self.skipped.append(str(error))
            return
        self._outcomes |= {(orders, image.digest): row for orders, row in outcomes.items()}
        self._sets.update(outcomes)
        # the number of sets that a search tries is known at its end
        self._context.progress.advance(len(self._sets), len(self._sets) + 1)


def _tally(rows: Sequence[ImageOutcome]) -> Tally:
    summary = summarise(
        (change for row in rows for change in row.changes), (delta for row in rows for delta in row.deltas)
    )
    shares = [share for row in rows for share in row.shares]
    agreement = 1.0 if summary.agreement is None else summary.agreement  # nothing to bring back
    return Tally(agreement, summary.mean_score_delta, float(np.mean(shares)) if shares else None)
