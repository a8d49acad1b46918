"""The calibration lab: how many images calibration needs, which, and what a wrong calibration costs.

Ranges of all images are measured once; every subset is then free, and what is tried is really built and run: the curve
over the number of images (several seeded draws of each), the ways to sum ranges up, the images that widen them left
out, and the usual mistakes. What the figures mean is said in `calibration_figures`.

From cells to the lab's figures: losses with their intervals, and the points of the curve.

What a calibration lab tries, and what it knows of the calibration images before it builds anything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from qviz.context import Context
from qviz.detector import AP_SCORE, PAGE_SCORE, decoded
from qviz.engine import Engine
from qviz.errors import QuantizeError, SettingsError
from qviz.features.accuracy.bootstrap import interval
from qviz.features.building import Source, builders, calibration_of, check, recipe_of, see_ranges
from qviz.features.building.names import named_apart
from qviz.features.building.ranges import check_method
from qviz.features.calibrating.bench import BATCH, Bench, Counter
from qviz.features.calibrating.outliers import outliers, stability
from qviz.features.calibrating.result import CalibrationLab, CurvePoint, Tried
from qviz.features.calibrating.trials import (
    MISTAKES,
    PASSING,
    Given,
    Trial,
    curve,
    curve_sizes,
    mistakes,
    other_methods,
    skipping,
    without_outliers,
)
from qviz.features.corruption_sweep.cell import Cell
from qviz.features.corruption_sweep.out_of_range import out_of_range
from qviz.features.detection.detect import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, EncodedImage, Loss

Done = Mapping[Trial, Cell | str]
"""Cells, or why there is none."""
LARGE = 2
"""So many of the largest numbers of images stand for a calibration that has enough of them."""


def judged(done: Done, reference: Cell, images: int) -> list[tuple[Trial, Tried]]:
    """A row a trial. images: how many were judged."""
    sizes = _by_size(done)
    large = _large(sizes)
    rows = []
    for trial, cell in done.items():
        if isinstance(cell, str):
            rows.append((trial, Tried(trial.name, trial.told, trial.images, refused=cell)))
            continue
        enough = trial.group == "curve" or trial.images == max(sizes, default=0)
        matching = large if enough else sizes.get(trial.images, large)
        loss, extra = lost([reference], [cell], images), lost(matching, [cell], images)
        rows.append((trial, Tried(trial.name, trial.told, trial.images, cell.ap, cell.agreement, loss, extra)))
    return rows


def _by_size(done: Done) -> dict[int, list[Cell]]:
    """The curve's cells, from few images to many."""
    sizes: dict[int, list[Cell]] = {}
    for trial, cell in done.items():
        if trial.group == "curve" and isinstance(cell, Cell):
            sizes.setdefault(trial.images, []).append(cell)
    return {size: sizes[size] for size in sorted(sizes)}


def _large(sizes: Mapping[int, list[Cell]]) -> list[Cell]:
    return [cell for size in list(sizes)[-LARGE:] for cell in sizes[size]]


def lost(against: Sequence[Cell], cells: Sequence[Cell], images: int) -> Loss:
    """The mean of some cells minus the mean of others, paired over the resamples."""
    values = [cell.value for cell in (*against, *cells)]
    if not against or not cells or any(value is None for value in values):
        return Loss(None)
    known = np.array(values, np.float64)
    first, second = (np.mean([cell.draws for cell in row], axis=0) for row in (against, cells))
    low, high = interval(first - second, images)
    sure = None if low is None or high is None else low > 0 or high < 0
    return Loss(float(known[: len(against)].mean() - known[len(against) :].mean()), low, high, sure)


def curve_points(done: Done, rows: Sequence[tuple[Trial, Tried]], images: int) -> tuple[CurvePoint, ...]:
    """A point a number of images, from few to many. rows: of `judged`."""
    sizes = _by_size(done)
    large = _large(sizes)
    numbers = sorted({tried.images for trial, tried in rows if trial.group == "curve"})
    return tuple(
        _point(
            number,
            tuple(tried for trial, tried in rows if trial.group == "curve" and tried.images == number),
            sizes.get(number, []),
            lost(large, sizes.get(number, []), images),
        )
        for number in numbers
    )


def _point(size: int, tried: tuple[Tried, ...], cells: Sequence[Cell], extra: Loss) -> CurvePoint:
    values = [cell.value for cell in cells if cell.value is not None]
    aps = [cell.ap for cell in cells if cell.ap is not None]
    low, high = (min(values), max(values)) if values else (None, None)
    return CurvePoint(
        size, tried, _mean(aps), _mean([cell.agreement for cell in cells]), _mean(values), low, high, extra
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


DRAWS = 3
SEED = 20261128
RECIPES = ("int8", "int16x8")
"""Those whose activations have fixed ranges."""


@dataclass(frozen=True, slots=True)
class Plan:
    """draws: of each number of images; mistakes: names of `MISTAKES`; further: outliers, other ways to sum ranges up
    and images to add."""

    recipe: str = "int8"
    method: str = "minmax"
    draws: int = DRAWS
    seed: int = SEED
    mistakes: tuple[str, ...] = tuple(MISTAKES)
    further: bool = True

    def check(self) -> None:
        """Raises QuantizeError, SettingsError."""
        check_method(self.method)
        if not recipe_of(self.recipe).needs_calibration:
            raise QuantizeError(f"Recipe {self.recipe} needs no calibration; the lab is for {' and '.join(RECIPES)}.")
        if unknown := [name for name in self.mistakes if name not in MISTAKES]:
            raise SettingsError(f"{unknown[0]!r} is no mistake; known are {', '.join(MISTAKES)}.")
        if not 1 <= self.draws <= 50:
            raise SettingsError(f"draws is {self.draws}; give a number from 1 to 50.")

    def passes(self, images: int, judged: int) -> int:
        """How many passes over an image it takes, about: variants run together, `BATCH` in a pass."""
        variants = (len(curve_sizes(images)) - 1) * self.draws + 1 + len(self.mistakes) + 3 * self.further
        own = images * (2 + len(PASSING.intersection(self.mistakes)) + 2 * self.further)
        return own + judged * (1 + -(-variants // BATCH) + self.further)


def seen_images(bench: Bench, plan: Plan, images: Sequence[EncodedImage]) -> tuple[Given, float]:
    """Ranges, brightness and classes of the calibration images, and the seconds that measuring the ranges took.

    Raises Cancelled, QuantizeError, WorkerError.
    """
    engine, settings = bench.engine, bench.source.settings
    model = engine.share(bench.source.float_data, bench.source.float_digest)
    start = time.perf_counter()
    seen = see_ranges(engine, model, settings, images, plan.method, bench.counter.part(), len(images))
    seconds = time.perf_counter() - start
    calibration_of(seen, model.digest, plan.method)  # refuses where no image could be read
    by_digest = {image.digest: image for image in images}
    read = [by_digest[digest] for digest in seen.digests]
    light = [engine.submit(brightness_job, image) for image in read]
    classes = _classes(bench, read)
    brightness = np.array([job.result() for job in light])
    sizes = curve_sizes(seen.images)
    how = plan.method, plan.seed
    given = Given(engine, model, settings, *how, read, seen, brightness, classes, sizes, bench.counter.part)
    return given, seconds


def _classes(bench: Bench, images: Sequence[EncodedImage]) -> list[str | None]:
    """What the reference is surest of on each image."""
    model = bench.reference
    found = detect_images(Context(bench.engine, store=bench.store, threads=bench.threads, progress=Advance(bench.counter.part()), cancel=bench.counter.cancel), [model], images, len(images), PAGE_SCORE, candidates=False)  # fmt: skip
    surest: list[str | None] = []
    for image in images:
        inference = found.inferences.get((model.digest, image.digest))
        if inference is None or not len(inference.detections):
            surest.append(None)
        else:
            objects = inference.detections
            surest.append(model.inspection.label(int(objects.class_ids[objects.scores.argmax()])))
    return surest


def brightness_job(image: EncodedImage) -> float:
    """In a worker: the mean over the pixels and channels, 0..255."""
    return float(decoded(image).pixels.mean())


Watch = Callable[[CalibrationLab], object]

CANDIDATES = 100
"""Judged images, spread over all, among which those to add are looked for."""


def calibration_lab(
    engine: Engine,
    reference: LoadedModel,
    source: Source,
    images: Sequence[EncodedImage],
    dataset: Dataset,
    plan: Plan = Plan(),
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
    watch: Watch = lambda found: None,
) -> CalibrationLab:
    """The whole lab. Raises Cancelled, DatasetError, ModelError, QuantizeError, SettingsError, WorkerError.

    reference: the float32 model that `source` says how to build from; images: to calibrate with; dataset: judged on;
    where nothing in it is annotated, agreement with the reference stands for AP. watch: called with what is known so
    far. on_progress counts passes over images.
    """
    plan.check()
    check(recipe_of(plan.recipe), named_apart(source.graph))
    images = list({image.digest: image for image in images}.values())  # the same file twice says nothing new
    counter = Counter(plan.passes(len(images), len(dataset.images)), on_progress, cancel)
    with builders() as makers:  # they start while the ranges are measured
        bench = Bench(engine, makers, reference, source, plan.recipe, dataset, counter, score, threads, store)
        given, seconds = seen_images(bench, plan, images)
        bench.prepare()
        everything = next(curve(given.seen, given.model.digest, plan.method, 1, plan.seed))
        variant = bench.build(everything)
        return _Lab(plan, bench, given, watch, variant, everything, _begun(plan, bench, given, seconds)).run()


def _begun(plan: Plan, bench: Bench, given: Given, seconds: float) -> CalibrationLab:
    return CalibrationLab(
        source=bench.reference.name,
        recipe=plan.recipe,
        method=plan.method,
        images=given.seen.images,
        dataset=bench.dataset.name,
        judged=len(bench.dataset.images),
        annotated=bench.annotated,
        reference=bench.reference_cell().value,
        seconds=seconds,
        skipped=(*given.seen.skipped, *bench.skipped),
        warnings=tuple(warning.to_json() for warning in lint_all([bench.reference], bench.threads)),
    )


@dataclass(slots=True, eq=False)
class _Lab:
    """variant: calibrated on all images, by the trial `everything`; found: what is known beside the trials."""

    plan: Plan
    bench: Bench
    given: Given
    watch: Watch
    variant: LoadedModel
    everything: Trial
    found: CalibrationLab
    trials: list[Trial] = field(default_factory=list)

    def run(self) -> CalibrationLab:
        self._look_at_images()
        said: list[str] = []
        for _ in self.bench.run(self._remembered(self._all(said))):
            self.watch(self.so_far())
        if self.plan.further and self.bench.reference.layers_available:
            self._look_for_more()
        self.found = replace(self.found, skipped=(*self.found.skipped, *said))
        return self.so_far(wait=True)

    def _look_at_images(self) -> None:
        """Stability and outliers, of the layers that the variant really quantizes."""
        given, graph = self.given, self.variant.inspection.graph
        quantized = {tensor.name for tensor in graph.tensors if tensor.quantized and not tensor.constant}
        own = self.bench.source.graph
        steady = stability(given.seen, own, quantized, given.sizes, self.plan.method, self.plan.seed)
        self.found = replace(self.found, stability=steady)
        self.watch(self.so_far())
        if self.plan.further:
            seen = given.engine, given.model, given.settings, given.images, given.seen
            self.found = replace(self.found, outliers=outliers(*seen, quantized, self.bench.counter.part()))
            self.watch(self.so_far())

    def _all(self, said: list[str]) -> Iterator[Trial]:
        """What cannot be measured is said; the others' figures stand."""
        given = self.given
        _, *draws = curve(given.seen, given.model.digest, self.plan.method, self.plan.draws, self.plan.seed)
        yield self.everything
        yield from draws
        for name in self.plan.mistakes:
            yield from skipping(partial(mistakes, given, [name]), said)
        if self.plan.further:
            yield from without_outliers(given, self.found.outliers)
            yield from other_methods(given)

    def _remembered(self, trials: Iterator[Trial]) -> Iterator[Trial]:
        for trial in trials:
            self.trials.append(trial)
            yield trial

    def _look_for_more(self) -> None:
        """Judged images that drive the network out of the calibrated ranges."""
        bench, every = self.bench, self.bench.dataset.images
        most = min(CANDIDATES, len(every))
        chosen = [every[i * len(every) // most].encoded() for i in range(most)]
        pair, counter = (bench.reference, self.variant), bench.counter
        alarm = out_of_range(bench.engine, *pair, chosen, counter.part(), most, counter.cancel)
        self.found = replace(self.found, add=alarm.add)

    def so_far(self, wait: bool = False) -> CalibrationLab:
        """With the variants whose figures are there. wait: for all of them."""
        done, judged_on = self._done(wait), len(self.bench.dataset.images)
        rows = judged(done, self.bench.reference_cell(), judged_on)
        groups: dict[str, list[Tried]] = {}
        for trial, tried in rows:
            groups.setdefault(trial.group, []).append(tried)
        return replace(
            self.found,
            curve=curve_points(done, rows, judged_on),
            methods=tuple(groups.get("method", [])),
            without_outliers=next(iter(groups.get("outliers", [])), None),
            mismatch=tuple(groups.get("mismatch", [])),
        )

    def _done(self, wait: bool) -> dict[Trial, Cell | str]:
        """What is measured, or why it is not."""
        done: dict[Trial, Cell | str] = {}
        for trial in self.trials:
            cell = self.bench.cells.get(trial)
            if isinstance(cell, Future):
                if wait or cell.done():
                    done[trial] = cell.result()
            elif cell is not None:
                done[trial] = cell
        return done
