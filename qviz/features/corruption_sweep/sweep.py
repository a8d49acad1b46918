"""Run models under every corruption and severity, one corruption after the other.

Only the detections of one corruption are in memory at a time. Workers compute the values of one corruption while the
models run under the next one.
Detections are stored under the digest of the corrupted image, so that a cancelled sweep continues where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from qviz.context import Context, Passes
from qviz.corruptions import SEVERITIES, corruption_named
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.errors import DatasetError, SettingsError
from qviz.features.accuracy.evaluator import Corruptions, Evaluator, Measurement
from qviz.features.corruption_sweep.result import CLEAN, Measured, Robustness
from qviz.features.detection.models import LoadedModel, unique_names
from qviz.features.inspection.lint import lint_all
from qviz.structures import AppliedCorruption, Dataset


def sweep(
    context: Context,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    corruptions: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    score: float = AP_SCORE,
) -> Robustness:
    """Measure every model under every corruption.

    Progress counts every image once per corruption and severity. The partial result has the corruptions that are done.

    Args:
        models: The models, the reference first; those with the same name get a number.
        dataset: The images. If nothing is annotated, agreement with the reference on the clean images replaces AP.
        corruptions: Names from `qviz.corruptions.CORRUPTIONS`.
        severities: Severities from 1 to 5.
        score: Minimum confidence of a detection that counts in AP; at most `PAGE_SCORE`.

    Raises:
        Cancelled, DatasetError, SettingsError: There is no image that every model can process, or an argument is
            invalid.
    """
    _check(corruptions, severities, score)
    levels = tuple(sorted(set(severities)))
    names = tuple(dict.fromkeys(corruptions))
    passes = Passes(context, len(dataset.images) * (1 + len(names) * len(levels)))
    start = time.monotonic()
    evaluator = Evaluator(passes.next(), models, dataset, score)
    passes.total -= (len(dataset.images) - evaluator.images) * len(names) * len(levels)
    running = _Sweep(passes, evaluator, models, levels, time.monotonic() - start)
    try:
        running.measure(CLEAN, [None])
        for name in names:
            if (partial := running.result()) is not None:
                context.progress.partial(partial)
            running.measure(name, [AppliedCorruption(name, level) for level in levels])
        for job in running.jobs.values():
            context.wait(job)
    finally:
        for job in running.jobs.values():
            job.cancel()
    result = running.result()
    assert result is not None, "everything is measured"
    context.progress.partial(result)
    return result


def _check(corruptions: Sequence[str], severities: Sequence[int], score: float) -> None:
    """Raise SettingsError if an argument is invalid."""
    for name in corruptions:
        corruption_named(name)
    wrong = [level for level in severities if level not in SEVERITIES]
    if wrong or not severities or not corruptions:
        raise SettingsError(
            f"Severities are {', '.join(map(str, severities)) or 'none'} and corruptions"
            f" {', '.join(corruptions) or 'none'}; give at least one of each, severities from 1 to 5."
        )
    if score > PAGE_SCORE:
        raise SettingsError(
            f"The score is {score:g}, but objects of {PAGE_SCORE:g} and more are counted; give {PAGE_SCORE:g} or less."
        )


@dataclass(slots=True, eq=False)
class _Sweep:
    """What has been run so far. `jobs` maps (model, corruption, severity) to the measurement, which may be running."""

    passes: Passes
    evaluator: Evaluator
    models: Sequence[LoadedModel]
    severities: tuple[int, ...]
    seconds: float
    jobs: dict[tuple[str, str, int], Future[Measurement]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(unique_names([model.name for model in self.models]))

    def measure(self, name: str, corruptions: Corruptions) -> None:
        """Detect under one corruption's severities, and start the measurements."""
        detected = None
        if name != CLEAN:  # the evaluator has already run the clean images
            start = time.monotonic()
            detected = self.evaluator.detect(self.passes.next(), self.models, corruptions)
            self.seconds += time.monotonic() - start
            if detected.skipped:  # values on different images would not be comparable
                raise DatasetError(f"Under {name}: {detected.skipped[0]}")
        for corruption in corruptions:
            for model_name, model in zip(self.names, self.models, strict=True):
                key = model_name, name, 0 if corruption is None else int(corruption.amount)
                self.jobs[key] = self.evaluator.measure(self.passes.context, model, detected, corruption)

    def result(self) -> Robustness | None:
        """The result for the corruptions that are completely measured; None until the clean images are measured."""
        done = {key: job.result() for key, job in self.jobs.items() if job.done()}
        started = dict.fromkeys(corruption for _, corruption, _ in self.jobs)
        complete = [name for name in started if all(key in done for key in self.jobs if key[1] == name)]
        if CLEAN not in complete:
            return None
        evaluator, corruptions = self.evaluator, tuple(name for name in complete if name != CLEAN)
        measured = Measured(done, self.names, corruptions, self.severities, evaluator.images)
        return Robustness(
            dataset=evaluator.dataset.name,
            images=evaluator.images,
            annotated=evaluator.annotated,
            models=self.names,
            corruptions=corruptions,
            severities=self.severities,
            points=tuple(measured.points()),
            summary=tuple(measured.summaries()),
            interactions=tuple(measured.interactions()),
            breaking_points=tuple(measured.breaking_points()),
            images_per_second=self.passes.done / self.seconds if self.seconds > 0 else 0.0,
            skipped=evaluator.skipped,
            warnings=tuple(lint_all(self.passes.context, self.models)),
        )
