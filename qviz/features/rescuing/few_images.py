"""The quality of candidates on a few images of the search half: fast enough to compare some fifty of them.

quality   mean of agreement and share of score, in [0, 1]. The share of score is the mean confidence of the reference's
          objects in the candidate over that in the reference; it shows gains that agreement on few images does not
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qviz.context import Context
from qviz.errors import Cancelled, ModelError, QuantizeError
from qviz.features.accuracy.evaluator import Evaluator, Measurement
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing.result import Candidate
from qviz.structures import Dataset

FEW = 12
"""Images, evenly spread over the search half."""


class FewImages:
    """Measures candidates against the reference on a few images."""

    def __init__(self, context: Context, reference: LoadedModel, dataset: Dataset) -> None:
        self._context = context.quiet()
        self._evaluator = Evaluator(self._context, [reference], dataset.spread(FEW))
        self._best_score = self._measured(self._evaluator, reference).mean_score or 0.0

    def _measured(self, evaluator: Evaluator, model: LoadedModel) -> Measurement:
        return self._context.wait(evaluator.measure(self._context, model, resamples=0))

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
        return {row: self._quality(measured[row]) if row in measured else 0.0 for row in jobs}

    def _quality(self, measured: Measurement) -> float:
        share = min((measured.mean_score or 0.0) / self._best_score, 1.0) if self._best_score else 0.0
        return ((measured.agreement or 0.0) + share) / 2
