"""Calibrations built and measured: a few at a time, the next being built while these run over the images.

Every variant sees each image in the same job as its neighbours, so that it is decoded once. What was found is kept in
the store; a variant that comes out the same file twice is measured once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import islice

from qviz.context import Context
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import Cancelled, DatasetError, QuantizeError, QvizError
from qviz.features.accuracy.truth import category_ids
from qviz.features.building import Built, Options, Source, start_building
from qviz.features.calibrating.trials import Trial
from qviz.features.corruption_sweep.cell import Cell, CellImage, cell_job
from qviz.features.detection.detect import Detected, Reading, detect_images
from qviz.features.detection.models import LoadedModel, ModelSource, finish_loading, start_loading
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage, Inference

BATCH = 6
"""Variants that run together: a worker keeps eight models warm, the reference among them."""
LOOK_EVERY = 0.2


@dataclass(slots=True, eq=False)
class Counter:
    """One progress over many passes. Raises Cancelled as soon as somebody asks for it."""

    total: int
    on_progress: OnProgress = silent
    cancel: threading.Event | None = None
    done: int = 0

    def part(self) -> OnProgress:
        """A counter that goes on where the last one has come to."""
        before = self.done

        def report(done: int, total: int) -> None:
            self.done = before + done
            self.check()
            self.on_progress(self.done, max(self.total, self.done))

        return report

    def check(self) -> None:
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("The work was stopped before it was done.")


@dataclass(slots=True, eq=False)
class Bench:
    """The reference on the judged images, and every trial against it. cells: of what has been measured, by trial."""

    engine: Engine
    makers: Engine
    reference: LoadedModel
    source: Source
    recipe: str
    dataset: Dataset
    counter: Counter
    score: float = AP_SCORE
    threads: int = 1
    store: Store | None = None
    skipped: list[str] = field(default_factory=list)
    reading: Reading = field(default_factory=Reading)
    found: dict[tuple[str, str], Inference] = field(default_factory=dict)
    cells: dict[Trial, Future[Cell] | str] = field(default_factory=dict)
    known: dict[str, Future[Cell]] = field(default_factory=dict)
    """By digest of the file, the reference's too."""
    started: dict[Trial, Future[Built] | str] = field(default_factory=dict)

    @property
    def annotated(self) -> bool:
        return self.dataset.annotations > 0

    def prepare(self) -> None:
        """The reference on all images; those that it cannot run are left out. Raises DatasetError."""
        found = self._detect([self.reference])
        self.skipped += [*self.dataset.skipped, *self.reading.unread, *found.skipped]
        digests = self.reading.digests
        kept = [i for i in self.dataset.images if (self.reference.digest, digests.get(i.id, "")) in self.found]
        if not kept:
            raise DatasetError("No image could be run. " + " ".join(found.skipped[:3]))
        self.dataset = replace(self.dataset, images=tuple(kept))
        self.known[self.reference.digest] = self._judge(self.reference)

    def reference_cell(self) -> Cell:
        return self.known[self.reference.digest].result()

    def run(self, trials: Iterable[Trial]) -> Iterator[None]:
        """Build and measure, batch after batch; stops after each, so that somebody may look."""
        left = iter(trials)
        before: list[tuple[Trial, Future[Built] | str]] = []
        while True:
            batch = [(trial, self._start(trial)) for trial in islice(left, BATCH)]
            if before:
                self._measure(before)
                yield
            if not batch:
                return
            before = batch

    def build(self, trial: Trial) -> LoadedModel:
        """One variant at once; `run` need not build it again. Raises QuantizeError, WorkerError, Cancelled."""
        self.started[trial] = start_building(self.makers, self.source, self.recipe, Options(), trial.calibration)
        return self._loaded(trial, self._built(self.started[trial]))

    def _start(self, trial: Trial) -> Future[Built] | str:
        self.counter.check()
        if trial in self.started:
            return self.started.pop(trial)
        try:
            return start_building(self.makers, self.source, self.recipe, Options(), trial.calibration)
        except QvizError as error:
            return str(error)

    def _measure(self, batch: Sequence[tuple[Trial, Future[Built] | str]]) -> None:
        models: dict[Trial, LoadedModel] = {}
        for trial, job in batch:
            try:
                models[trial] = self._loaded(trial, self._built(job))
            except Cancelled:
                raise
            except QvizError as error:
                self.cells[trial] = str(error)
        fresh = {model.digest: model for model in models.values() if model.digest not in self.known}
        found = self._detect(list(fresh.values())) if fresh else Detected()
        for digest, model in fresh.items():
            if all((digest, self.reading.digests[image.id]) in self.found for image in self.dataset.images):
                self.known[digest] = self._judge(model)
        for trial, model in models.items():
            failed = " ".join(found.skipped[:1]) or "It failed on some images."
            self.cells[trial] = self.known.get(model.digest, failed)
        for key in [key for key in self.found if key[0] in fresh]:
            del self.found[key]  # the judge has them

    def _built(self, job: Future[Built] | str) -> Built:
        if isinstance(job, str):
            raise QuantizeError(job)
        while True:
            self.counter.check()
            try:
                return job.result(timeout=LOOK_EVERY)
            except TimeoutError:
                if job.done():
                    return job.result()

    def _loaded(self, trial: Trial, built: Built) -> LoadedModel:
        """Prepared just as the reference is."""
        source = ModelSource(trial.told, built.data, self.reference.settings)
        return finish_loading(self.engine, source, start_loading(self.engine, source))

    def _detect(self, models: Sequence[LoadedModel]) -> Detected:
        images = self.dataset.images
        found = detect_images(Context(self.engine, store=self.store, threads=self.threads, progress=Advance(self.counter.part()), cancel=self.counter.cancel), models, self.reading.of(images), len(images), self.score, candidates=False)  # fmt: skip
        self.found |= found.inferences
        return found

    def _judge(self, model: LoadedModel) -> Future[Cell]:
        truths = replace(self.dataset, images=(), skipped=()) if self.annotated else None
        classes = category_ids(self.reference.inspection.labels, self.dataset.categories) if self.annotated else {}
        rows = [self._row(model, image) for image in self.dataset.images]
        return self.engine.submit(cell_job, rows, truths, classes, None)

    def _row(self, model: LoadedModel, image: DatasetImage) -> CellImage:
        digest = self.reading.digests[image.id]
        clean = self.found[self.reference.digest, digest]
        found = self.found[model.digest, digest].detections
        objects = clean.detections.above(PAGE_SCORE)
        truths = replace(image, data=None, path=None)
        return CellImage(truths, (clean.width, clean.height), digest, objects, found.above(PAGE_SCORE), found)
