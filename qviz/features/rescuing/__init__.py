"""A rescue from its budget to its result: ranges, halves, search, report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError, QuantizeError, SettingsError
from qviz.features.building import RECIPES, Source, recipe_of
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing.measure import Half, halves
from qviz.features.rescuing.result import AP, LATENCY, SIZE, Budget, Chosen, Rescue, Tried
from qviz.features.rescuing.search import TRIES, Search
from qviz.features.rescuing.sets import OnStep
from qviz.features.rescuing.work import Workshop, journal_of
from qviz.store import Store
from qviz.structures import Dataset, EncodedImage


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of a rescue. recipes: those that may be used, all that fit where none is named; score: from which
    on detections count in AP; threads: of an interpreter."""

    budget: Budget
    prefer: str = SIZE
    recipes: Sequence[str] = ()
    tries: int = TRIES
    score: float = AP_SCORE
    threads: int = 1


def silent_step(text: str, done: int, total: int) -> None:
    """The OnStep that reports to nobody."""


def rescue(
    engine: Engine,
    builders: Engine,
    reference: LoadedModel,
    source: Source,
    images: Sequence[EncodedImage],
    dataset: Dataset,
    terms: Terms,
    store: Store | None = None,
    folder: Path | None = None,
    cancel: threading.Event | None = None,
    on_step: OnStep = silent_step,
    watch: Callable[[Rescue], object] = lambda found: None,
) -> Rescue:
    """The smallest or fastest variant within the budget; see `qviz.features.rescuing.result` for what its figures mean.

    builders: see `building.builders`. images: for calibration, best others than the dataset's. store, folder:
    where detections and what was tried are kept, so that a search goes on where it was killed. watch: called with the
    result so far after each candidate. Raises Cancelled, DatasetError, ImageError, ModelError, QuantizeError,
    SettingsError, WorkerError.
    """
    _check(reference, images, terms)
    begun, budget = time.monotonic(), terms.budget

    def half(images: Dataset, name: str) -> Half:
        report = partial(on_step, f"Running the reference on the {name} half")
        return Half(engine, reference, images, terms.score, store, terms.threads, cancel, report)

    search, rest = (half(part, name) for part, name in zip(halves(dataset), ("search", "report"), strict=True))
    _check_annotated(search, rest, budget, dataset)
    journal = journal_of(folder, source, images, search, terms.score)
    shop = Workshop(
        engine, builders, reference, source, images, search, budget, terms.prefer, journal, cancel, on_step,
        remarks=_overlap(images, search, rest),
    )  # fmt: skip
    shop.read_journal()
    start = Rescue(reference.name, reference.digest, reference.bytes, budget, terms.prefer, search.images, rest.images)

    def so_far(tried: tuple[Tried, ...], best: Tried | None, data: bytes) -> Rescue:
        remarks = (*dataset.skipped, *search.skipped, *rest.skipped, *shop.remarks, *journal.remarks)
        return replace(
            start, tried=tried, best=best, data=data, ranges=dict(shop.ranges), remarks=tuple(dict.fromkeys(remarks)),
            seconds=time.monotonic() - begun,
        )  # fmt: skip

    recipes = tuple(terms.recipes) or tuple(RECIPES)
    searching = Search(shop, recipes, terms.tries, lambda *rows: watch(so_far(*rows)))
    searching.run()
    best = searching.best
    if best is None:
        raise QuantizeError(f"No candidate could be built and run. {searching.tried[0].error}")
    chosen = _report(shop, rest, best, searching.data)
    found = replace(so_far(searching.tried, best, searching.data), chosen=chosen)
    watch(found)
    return found


def _report(shop: Workshop, rest: Half, best: Tried, data: bytes) -> Chosen:
    """The best one on the images that no choice has seen."""
    model = shop.loaded(best.candidate, data)
    detections = rest.run(model, shop.step("Reporting on the other half"))
    figures, loss = rest.figures(model, detections), rest.interval(model, detections, shop.budget)
    kept = loss.value is not None and loss.value <= shop.budget.limit
    return Chosen(best, loss, kept, rest.images, figures.ap, rest.reference.ap, figures.agreement)


def _check(reference: LoadedModel, images: Sequence[EncodedImage], terms: Terms) -> None:
    if terms.prefer not in (SIZE, LATENCY):
        raise SettingsError(f"{terms.prefer!r} cannot be preferred; choose {SIZE} or {LATENCY}.")
    if not 1 <= terms.tries <= 1000:
        raise SettingsError(f"{terms.tries} tries are asked for; give a number between 1 and 1000, e.g. {TRIES}.")
    if not reference.layers_available:
        raise QuantizeError(f"{reference.name} {reference.refusal}")
    if any(recipe_of(name).needs_calibration for name in terms.recipes or RECIPES) and not images:
        raise QuantizeError(
            "A rescue needs calibration images: give 50 to 500 that look like those in use (--calibration DIR)."
        )


def _check_annotated(search: Half, rest: Half, budget: Budget, dataset: Dataset) -> None:
    if budget.measure == AP and (search.reference.ap is None or rest.reference.ap is None):
        raise DatasetError(
            f"A half of {dataset.name} has no annotated object that the model knows, so a loss of AP is not known;"
            " give more images, or a budget in agreement."
        )


def _overlap(images: Sequence[EncodedImage], *parts: Half) -> list[str]:
    both = {image.digest for image in images} & frozenset().union(*(part.digests for part in parts))
    if not both:
        return []
    return [f"{len(both)} of the images are calibration images too: losses on them look a little better than they are."]
