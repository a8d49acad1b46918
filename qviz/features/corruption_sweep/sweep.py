"""Models x corruptions x severities over one dataset: run by the engine, corruption after corruption.

Only one corruption's detections are held at a time; the workers judge them while they run the next one. Detections are
kept in the store under the shifted image's digest, so a sweep that was stopped goes on where it ended.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from qviz.context import Context
from qviz.corruptions import SEVERITIES, corruption_named
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError, SettingsError
from qviz.features.accuracy.truth import category_ids
from qviz.features.corruption_sweep.cell import Cell, CellImage, cell_job
from qviz.features.corruption_sweep.result import CLEAN, Robustness, breaking_points, interactions, points, summaries
from qviz.features.detection.inference import Detected, Reading, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.features.settings import a_few, guess_all, unknown_settings
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import AppliedCorruption, Dataset, DatasetImage, Detections, EncodedImage, Inference

Watch = Callable[[Robustness], object]
Shifts = Sequence[AppliedCorruption | None]


def sweep(
    engine: Engine,
    models: Sequence[LoadedModel],
    dataset: Dataset,
    corruptions: Sequence[str],
    severities: Sequence[int] = SEVERITIES,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
    watch: Watch | None = None,
) -> Robustness:
    """Every model under every corruption. Raises Cancelled, DatasetError, SettingsError, QvizError.

    dataset: where nothing in it is annotated, agreement with the clean reference stands for AP. watch: called with
    what is known so far, after each corruption. on_progress counts images, each under each shift.
    """
    checked(corruptions, severities, score)
    if unknown_settings(models[0]):
        models = guess_all(engine, models, [image.encoded() for image in a_few(dataset.images)])
    levels = tuple(sorted(set(severities)))
    parts: dict[str, Shifts] = {CLEAN: [None]}
    parts |= {name: [AppliedCorruption(name, level) for level in levels] for name in dict.fromkeys(corruptions)}
    running = _Sweep(engine, models, dataset, levels, score, on_progress, threads, store, cancel)
    running.total = len(dataset.images) * sum(len(shifts) for shifts in parts.values())
    try:
        for name, shifts in parts.items():
            running.run(name, shifts)
            if watch is not None and (known_now := running.so_far()) is not None:
                watch(known_now)
        running.finish()
    finally:
        running.stop()
    result = running.so_far()
    assert result is not None, "everything is judged"
    return result


def checked(corruptions: Sequence[str], severities: Sequence[int], score: float) -> None:
    """Raises SettingsError for what nobody knows."""
    for name in corruptions:
        corruption_named(name)
    wrong = [level for level in severities if level not in SEVERITIES]
    if wrong or not severities or not corruptions:
        raise SettingsError(
            f"Severities are {', '.join(map(str, severities)) or 'none'} and corruptions"
            f" {', '.join(corruptions) or 'none'}; give at least one of each, severities from 1 to 5."
        )
    if score > PAGE_SCORE:
        raise SettingsError(f"The score is {score:g}; objects are counted from {PAGE_SCORE:g}, so give that or less.")


@dataclass(slots=True, eq=False)
class _Sweep:
    """What has been run and judged so far. jobs: cells that the workers judge, by model, corruption and severity."""

    engine: Engine
    models: Sequence[LoadedModel]
    dataset: Dataset
    severities: tuple[int, ...]
    score: float
    on_progress: OnProgress
    threads: int
    store: Store | None
    cancel: threading.Event | None
    total: int = 0
    done: int = 0
    seconds: float = 0.0
    clean: dict[tuple[str, str], Inference] = field(default_factory=dict)
    reading: Reading = field(default_factory=Reading)
    skipped: list[str] = field(default_factory=list)
    jobs: dict[tuple[str, str, int], Future[Cell]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names; those that came before are told apart by a number."""
        seen: Counter[str] = Counter()
        told = []
        for model in self.models:
            seen[model.name] += 1
            told.append(model.name if seen[model.name] == 1 else f"{model.name} ({seen[model.name]})")
        return tuple(told)

    def run(self, corruption: str, shifts: Shifts) -> None:
        """Detect, and hand the cells to the workers."""
        start, before = time.monotonic(), self.done
        found = detect_images(Context(self.engine, store=self.store, threads=self.threads, progress=Advance(lambda done, total: self._report(before + done)), cancel=self.cancel), self.models, self._stream(shifts), len(self.dataset.images) * len(shifts), self.score, candidates=False)  # fmt: skip
        self.seconds += time.monotonic() - start
        if corruption == CLEAN:
            self._keep(found)
        elif found.skipped:
            raise DatasetError(f"Under {corruption}: {found.skipped[0]}")  # other images would be another figure
        for shift in shifts:
            for name, model in zip(self.names, self.models, strict=True):
                key = (name, corruption, 0 if shift is None else int(shift.amount))
                self.jobs[key] = self._judge(model, found.inferences, shift)

    def _stream(self, shifts: Shifts) -> Iterator[EncodedImage]:
        for encoded in self.reading.of(self.dataset.images):
            yield from (encoded.under(shift) for shift in shifts)

    def _report(self, done: int) -> None:
        self.done = done
        self.on_progress(done, max(self.total, done))

    def _keep(self, found: Detected) -> None:
        """The clean images that every model has run are those of the sweep."""
        kept = [
            image
            for image in self.dataset.images
            if all((model.digest, self.reading.digests.get(image.id, "")) in found.inferences for model in self.models)
        ]
        if not kept:
            raise DatasetError("No image could be run by every model. " + " ".join(found.skipped[:3]))
        self.total -= (len(self.dataset.images) - len(kept)) * (self.total // len(self.dataset.images))
        self.total = max(self.total, self.done)
        self.skipped = [*self.dataset.skipped, *found.skipped, *self.reading.unread]
        self.dataset = replace(self.dataset, images=tuple(kept))
        self.clean = found.inferences

    def _judge(
        self, model: LoadedModel, found: Mapping[tuple[str, str], Inference], shift: AppliedCorruption | None
    ) -> Future[Cell]:
        annotated = self.dataset.annotations > 0
        classes = category_ids(model.inspection.labels, self.dataset.categories) if annotated else {}
        rows = [self._row(model, image, found, shift) for image in self.dataset.images]
        truths = replace(self.dataset, images=(), skipped=()) if annotated else None
        return self.engine.submit(cell_job, rows, truths, classes, shift)

    def _row(
        self,
        model: LoadedModel,
        image: DatasetImage,
        found: Mapping[tuple[str, str], Inference],
        shift: AppliedCorruption | None,
    ) -> CellImage:
        digest = self.reading.digests[image.id]
        under = EncodedImage(image.name, b"", digest).under(shift).digest
        clean = self.clean[self.models[0].digest, digest]
        return CellImage(
            truths=replace(image, data=None, path=None),
            size=(clean.width, clean.height),
            digest=digest,
            reference=_objects(clean),
            own=_objects(self.clean[model.digest, digest]),
            found=found[model.digest, under].detections,
        )

    def finish(self) -> None:
        """Wait for every cell. Raises what made one fail."""
        for job in self.jobs.values():
            job.result()

    def stop(self) -> None:
        """Let go what still queues."""
        for job in self.jobs.values():
            job.cancel()

    def so_far(self) -> Robustness | None:
        """Of the corruptions whose cells are all judged; None before the clean images are."""
        cells = {key: job.result() for key, job in self.jobs.items() if job.done()}
        names = list(dict.fromkeys(corruption for _, corruption, _ in self.jobs))
        whole = [n for n in names if all(key in cells for key in self.jobs if key[1] == n)]
        if CLEAN not in whole:
            return None
        count, done = len(self.dataset.images), tuple(name for name in whole if name != CLEAN)
        of = (cells, self.names, done, self.severities)
        return Robustness(
            dataset=self.dataset.name,
            images=count,
            annotated=self.dataset.annotations > 0,
            models=self.names,
            corruptions=done,
            severities=self.severities,
            points=points({key: cell for key, cell in cells.items() if key[1] in whole}, count),
            summary=summaries(*of),
            interactions=interactions(*of, count),
            breaking_points=breaking_points(*of),
            images_per_second=self.done / self.seconds if self.seconds > 0 else 0.0,
            skipped=tuple(self.skipped),
            warnings=tuple(warning.to_json() for warning in lint_all(self.models, self.threads)),
        )


def _objects(found: Inference) -> Detections:
    return found.detections.above(PAGE_SCORE)
