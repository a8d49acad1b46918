"""Sets of operators in float, measured on images by the workers."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass

import numpy as np

from qviz.context import Context
from qviz.errors import ImageError
from qviz.features.comparison.matching import Change, summarise
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.what_if.mixed import Float
from qviz.features.what_if.outcomes import ImageOutcome, Matching, Outcomes, outcomes_job
from qviz.features.what_if.sets import Orders
from qviz.structures import EncodedImage

SETS_PER_JOB = 8
"""Number of sets measured in one job if there are too few images to give each worker one; see `outcomes_job`."""
Chosen = Orders | Float
"""Operators of the variant in float: their indices alone, or a `Float` with further conditions."""


@dataclass(frozen=True, slots=True)
class Tally:
    """The result of one set of operators in float, over all images; see `what_if`.

    Attributes:
        agreement: Agreement with FP32 in [0, 1]; 1 if neither model has an object, because nothing is lost then.
        mean_score_delta: Mean of the variant's score minus FP32's over kept and shifted objects; None if there are
            none.
        score_share: Share of the score that remains, averaged over FP32's objects; None if there are none.
        has_objects: Whether one of the models has an object.
    """

    agreement: float
    mean_score_delta: float | None
    score_share: float | None
    has_objects: bool = True

    @property
    def shown_agreement(self) -> float | None:
        """The agreement; None if neither model has an object."""
        return self.agreement if self.has_objects else None


class Measure:
    """Measures sets of operators in float. Each set is measured once per image.

    Attributes:
        pair: The two networks for the workers.
        images: The images that can be read; complete after the first call.
        skipped: One sentence per image that cannot be read.

    Raises:
        ModelError: One of the two models has no layers.
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
        self._backwards = True
        self._outcomes: dict[tuple[Float, str], ImageOutcome] = {}
        self._sets: set[Float] = set()

    def on(self, images: Sequence[EncodedImage]) -> Measure:
        """A `Measure` on some of the images. What one of the two has measured, the other need not measure again."""
        part = copy(self)
        part.images, part.skipped = list(images), []
        return part

    def __call__(self, sets: Sequence[Chosen], images: Sequence[EncodedImage] | None = None) -> list[Tally]:
        """Measure the sets that were not measured before; returns one tally per set.

        Args:
            sets: Operators of the variant in float; an empty set stands for the unchanged variant.
            images: Images to measure on; by default all.

        Raises:
            Cancelled, ModelError, WorkerError.
            ImageError: No image can be read.
        """
        chosen = list(self.images if images is None else images)
        self._backwards = not self._backwards  # the workers still have the runs of the last images
        left = chosen[::-1] if self._backwards else chosen
        while left:
            for image, jobs in in_order(self._context, left, lambda image: self._jobs(sets, image)):
                for job in jobs:
                    self._add(image, job)
            left = [image for image in left if image in self.images and self._missing(sets, image)]
        if not self.images:
            raise ImageError(" ".join(self.skipped[:3]) or "No image was given; sets are measured on images.")
        read = [image for image in chosen if image in self.images]
        return [_tally([self.outcome(orders, image) for image in read]) for orders in sets]

    def reaches(self, chosen: Chosen, images: Sequence[EncodedImage], agreement: float) -> bool:
        """Whether a set has at least this agreement on some of the images.

        The unchanged variant must have been measured on them before. The images are run in the given order, a few at a
        time, until the set cannot reach the agreement even if all objects on the rest of them agree.
        """
        read = [image for image in images if image in self.images]
        for count in range(self._context.engine.workers, len(read), self._context.engine.workers):
            self([chosen], read[:count])
            same, both = (sum(row) for row in zip(*(self.outcome(chosen, i).counts for i in read[:count]), strict=True))
            rest = sum(len(self.outcome(frozenset(), image).shares) for image in read[count:])
            if both + rest and 2 * (same + rest) / (both + 2 * rest) < agreement:
                return False
        return self([chosen], images)[0].agreement >= agreement

    def outcome(self, chosen: Chosen, image: EncodedImage) -> ImageOutcome:
        """The outcome of a set on one image; the set must have been measured on that image before."""
        return self._outcomes[as_float(chosen), image.digest]

    def counts(self, chosen: Chosen) -> np.ndarray:
        """(objects that agree, objects of both models) for each image, (images, 2).

        The set must have been measured on all images before.
        """
        return np.array([self.outcome(chosen, image).counts for image in self.images])

    def finished(self) -> None:
        """Report to the progress that no more sets will be measured."""
        self._context.progress.advance(len(self._sets), len(self._sets))

    def most_affected(self, count: int, with_scores: bool = False) -> list[EncodedImage]:
        """Up to `count` images on which the unchanged variant differs most from the reference.

        with_scores: whether lost confidence counts in addition to lost, relabelled and spurious objects.
        """

        def damage(image: EncodedImage) -> float:
            outcome = self.outcome(frozenset(), image)
            changed = sum(change not in (Change.KEPT, Change.SHIFTED) for change in outcome.changes)
            return changed + sum(1 - share for share in outcome.shares) if with_scores else changed

        return sorted(self.images, key=lambda image: -damage(image))[:count]

    def _missing(self, sets: Sequence[Chosen], image: EncodedImage) -> list[Float]:
        chosen = dict.fromkeys(map(as_float, sets))
        return [one for one in chosen if (one, image.digest) not in self._outcomes]

    def _jobs(self, sets: Sequence[Chosen], image: EncodedImage) -> list[Future[Outcomes]]:
        missing = self._missing(sets, image)
        per_job = SETS_PER_JOB if len(self.images) < self._context.engine.workers else len(missing)
        return [
            self._context.engine.submit(
                outcomes_job, self.pair, image, missing[start : start + per_job], self._matching
            )
            for start in range(0, len(missing), max(per_job, 1))
        ]

    def _add(self, image: EncodedImage, job: Future[Outcomes]) -> None:
        try:
            outcomes = job.result()
        except ImageError as error:
            if image in self.images:
                self.images.remove(image)
                self.skipped.append(str(error))
            return
        self._outcomes |= {(chosen, image.digest): row for chosen, row in outcomes.items()}
        self._sets.update(outcomes)
        # how many sets a search tries is known only when it ends
        self._context.progress.advance(len(self._sets), len(self._sets) + 1)


def as_float(chosen: Chosen) -> Float:
    """The operators as a `Float`, without further conditions if only their indices are given."""
    return chosen if isinstance(chosen, Float) else Float(chosen)


def _tally(rows: Sequence[ImageOutcome]) -> Tally:
    summary = summarise(
        (change for row in rows for change in row.changes), (delta for row in rows for delta in row.deltas)
    )
    shares = [share for row in rows for share in row.shares]
    agreement = 1.0 if summary.agreement is None else summary.agreement  # without objects, nothing is lost
    share = float(np.mean(shares)) if shares else None
    return Tally(agreement, summary.mean_score_delta, share, summary.agreement is not None)
