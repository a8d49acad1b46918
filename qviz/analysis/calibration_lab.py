"""The calibration lab: how many images calibration needs, which, and what a wrong calibration costs.

Ranges of all images are measured once; every subset is then free, and what is tried is really built and run: the curve
over the number of images (several seeded draws of each), the ways to sum ranges up, the images that widen them left
out, and the usual mistakes. What the figures mean is said in `calibration_figures`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

from qviz.analysis.calibration_bench import Bench, Counter
from qviz.analysis.calibration_figures import CalibrationLab, Tried
from qviz.analysis.calibration_mismatch import Given
from qviz.analysis.calibration_outliers import outliers
from qviz.analysis.calibration_plan import Plan, seen_images
from qviz.analysis.calibration_stability import stability
from qviz.analysis.calibration_sums import curve_points, judged
from qviz.analysis.calibration_trials import Trial, curve, mistakes, other_methods, skipping, without_outliers
from qviz.analysis.lint import lint_all
from qviz.analysis.models import LoadedModel
from qviz.analysis.out_of_range import out_of_range
from qviz.analysis.shift_cell import Cell
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.progress import OnProgress, silent
from qviz.quantize import Source, builders, check, recipe_of
from qviz.quantize.names import named_apart
from qviz.store import Store
from qviz.structures import Dataset, EncodedImage

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
