"""The calibrations that the lab tries, and a runner that builds and measures them.

Ranges that need another pass over the images are measured only when a trial needs them, so that first results come
early. A few variants run together, so that each image is decoded once for all of them. While they run, the next
variants are built. Detections are stored, and a variant whose file equals an earlier one is not measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from qviz.context import Context
from qviz.engine import Engine
from qviz.errors import Cancelled, QuantizeError, QvizError
from qviz.features.accuracy.evaluator import Evaluator, Measurement
from qviz.features.building.build import start_building
from qviz.features.building.calibration import METHODS, ImageRanges, calibration_of, measure_ranges
from qviz.features.building.recipes import Options
from qviz.features.building.result import Built
from qviz.features.building.source import Source
from qviz.features.calibrating.mistakes import MISTAKES, CalibrationImages
from qviz.features.calibrating.result import Outlier, Trial
from qviz.features.calibrating.stability import outliers_to_remove
from qviz.features.detection.inference import Detected
from qviz.features.detection.models import LoadedModel, ModelSource, finish_loading, start_loading
from qviz.formatting import plural

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
BATCH = 6
"""Number of variants that run together. A worker keeps up to eight models loaded, including the reference."""


def curve_sizes(images: int) -> tuple[int, ...]:
    """Powers of two up to three quarters of `images`, and `images` itself.

    Numbers in between are left out, because random draws of nearly all images would be nearly the same.
    """
    return (*(size for size in SIZES if 4 * size <= 3 * images and size < images), images)


def curve_trials(measured: ImageRanges, model: str, method: str, draws: int, seed: int) -> Iterator[Trial]:
    """The trial with all images, then rounds with one draw of every size, so that the whole curve is visible early."""
    *sizes, count = curve_sizes(measured.images)
    yield Trial("curve", "all", f"all {plural(count, 'image')}", count, calibration_of(measured, model, method))
    for draw in range(draws):
        for size in sizes:
            rows = np.random.default_rng([seed, size, draw]).choice(count, size, replace=False)
            ranges = calibration_of(measured.of(rows.tolist()), model, method)
            yield Trial("curve", f"{size}/{draw + 1}", f"{plural(size, 'image')}, draw {draw + 1}", size, ranges)


def mistake_trials(images: CalibrationImages, names: Sequence[str], skipped: list[str]) -> Iterator[Trial]:
    """One trial per mistake that is possible here. For each that cannot be measured, a sentence is added to `skipped`.

    Raises WorkerError.
    """
    for name in names:
        try:
            mistake = MISTAKES[name](images)
            if mistake is not None and mistake[0].images:
                ranges, description = mistake
                calibration = calibration_of(ranges, images.model.digest, images.method)
                yield Trial("mismatch", name, description, ranges.images, calibration)
        except QuantizeError as error:
            skipped.append(str(error))


def method_trials(images: CalibrationImages) -> Iterator[Trial]:
    """Calibrations on all images with the other methods."""
    for method, description in METHODS.items():
        if method != images.method:
            measured = images.measured
            if "percentile" in (method, images.method):  # percentiles need another measurement of each image
                measured = measure_ranges(images.context, images.model, images.settings, images.images, method)
            calibration = calibration_of(measured, images.model.digest, method)
            yield Trial("method", method, description, measured.images, calibration)


def outlier_trials(images: CalibrationImages, outliers: Sequence[Outlier]) -> Iterator[Trial]:
    """The calibration without the images that widen the ranges most."""
    removed = set(outliers_to_remove(outliers, images.measured.images))
    rows = [row for row, digest in enumerate(images.measured.digests) if digest not in removed]
    if removed and rows:
        which = f"the {len(removed)} images that widen" if len(removed) > 1 else "the image that widens"
        calibration = calibration_of(images.measured.of(rows), images.model.digest, images.method)
        yield Trial("outliers", "without_outliers", f"without {which} the ranges most", len(rows), calibration)


@dataclass(slots=True, eq=False)
class TrialRunner:
    """Builds trials and measures them against the reference.

    Attributes:
        builders: Workers that build, see `qviz.features.building.builders`.
        total: Expected number of trials, for the progress.
        outcomes: Trial -> its measurement (a future), or a text that says why there is none.
    """

    context: Context
    builders: Engine
    evaluator: Evaluator
    source: Source
    recipe: str
    total: int
    outcomes: dict[Trial, Future[Measurement] | str] = field(default_factory=dict)
    _trials: list[Trial] = field(default_factory=list)
    _building: dict[Trial, Future[Built]] = field(default_factory=dict)
    _by_digest: dict[str, Future[Measurement]] = field(default_factory=dict)

    def build(self, trial: Trial) -> LoadedModel:
        """Build one variant immediately; `run` does not build it again.

        Raises Cancelled, QuantizeError, WorkerError.
        """
        self._building[trial] = self._start(trial)
        return self._load(trial, self._building[trial])

    def run(self, trials: Iterable[Trial]) -> Iterator[None]:
        """Build and measure the trials in batches, and yield after each batch."""
        iterator, previous = iter(trials), dict[Trial, Future[Built]]()
        while True:
            batch = {}
            for trial in islice(iterator, BATCH):
                self.context.check_cancelled()
                self._trials.append(trial)
                try:
                    batch[trial] = self._start(trial)
                except QvizError as error:
                    self.outcomes[trial] = str(error)
            if previous:
                self._measure(previous)
                yield
            if not batch:
                return
            previous = batch

    def measured(self, wait: bool) -> Mapping[Trial, Measurement | str]:
        """The outcomes so far, in the order of the trials. `wait`: whether to wait for running measurements."""
        outcomes = {trial: self.outcomes[trial] for trial in self._trials if trial in self.outcomes}
        return {
            trial: outcome if isinstance(outcome, str) else self.context.wait(outcome)
            for trial, outcome in outcomes.items()
            if isinstance(outcome, str) or wait or outcome.done()
        }

    def _start(self, trial: Trial) -> Future[Built]:
        if trial in self._building:
            return self._building.pop(trial)
        return start_building(self.builders, self.source, self.recipe, Options(), trial.calibration)

    def _load(self, trial: Trial, job: Future[Built]) -> LoadedModel:
        """The built variant as a loaded model, with the settings of the reference."""
        data = self.context.wait(job).data
        source = ModelSource(trial.description, data, self.evaluator.reference.settings)
        return finish_loading(self.context.engine, source, start_loading(self.context.engine, source))

    def _measure(self, batch: Mapping[Trial, Future[Built]]) -> None:
        models: dict[Trial, LoadedModel] = {}
        for trial, job in batch.items():
            try:
                models[trial] = self._load(trial, job)
            except Cancelled:
                raise
            except QvizError as error:
                self.outcomes[trial] = str(error)
        new = {model.digest: model for model in models.values() if model.digest not in self._by_digest}
        detected = self._detect(list(new.values()), len(batch)) if new else Detected()
        for trial, model in models.items():
            try:
                if model.digest not in self._by_digest:
                    self._by_digest[model.digest] = self.evaluator.measure(self.context, model, detected)
                self.outcomes[trial] = self._by_digest[model.digest]
            except QvizError as error:
                self.outcomes[trial] = str(error)

    def _detect(self, models: Sequence[LoadedModel], trials: int) -> Detected:
        """Run new variants. The progress counts each image once per trial."""
        done, images = len(self.outcomes), self.evaluator.images
        total = max(self.total, done + trials) * images

        def report(part: int, of: int) -> None:
            self.context.progress.advance(done * images + part * trials, total)

        return self.evaluator.detect(self.context.reporting(report), models)
