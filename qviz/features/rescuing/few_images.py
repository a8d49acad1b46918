"""The quality of candidates on a few images of the search half: fast enough to compare some fifty of them.

quality   agreement with the reference, in [0, 1], in which each object is weighted with its confidence
          (`softly_agreed`). It does not depend on a threshold. On 24 images of COCO, the difference of two candidates
          has a standard error of about .01; for AP on 80 images, it is half a point
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qviz.context import Context
from qviz.errors import Cancelled, ModelError, QuantizeError
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing.result import Candidate
from qviz.structures import Dataset

FEW = 24
"""Number of images, evenly spread over the search half."""


class FewImages:
    """Measures candidates against the reference on a few images."""

    def __init__(self, context: Context, reference: LoadedModel, dataset: Dataset) -> None:
        self._context = context.quiet()
        self._evaluator = Evaluator(self._context, [reference], dataset.spread(FEW))

    def qualities(
        self, jobs: Mapping[Candidate, Callable[[], bytes]], load: Callable[[Candidate, bytes], LoadedModel]
    ) -> dict[Candidate, float]:
        """The quality of each candidate, in [0, 1]; 0 if it cannot be built or run.

        `jobs` maps each candidate to a function that waits for its file. Raises Cancelled, WorkerError.
        """
        models: dict[Candidate, LoadedModel] = {}
        for candidate, job in jobs.items():
            try:
                models[candidate] = load(candidate, job())
            except Cancelled:
                raise
            except (QuantizeError, ModelError):
                continue
        detected = self._evaluator.detect(self._context, list(models.values()))
        measuring = {}
        for candidate, model in models.items():
            try:
                measuring[candidate] = self._evaluator.measure(self._context, model, detected, resamples=0)
            except ModelError:  # it failed on an image
                continue
        measured = {candidate: self._context.wait(job) for candidate, job in measuring.items()}
        return {row: (measured[row].soft_agreement or 0.0) if row in measured else 0.0 for row in jobs}
