"""Search for the smallest or fastest quantized variant within a budget of accuracy.

Candidates (combinations of a recipe, a way to calibrate and operators in float) are built and measured on one half of
the images. The loss of the chosen one is reported on the other half. See `result` for the terms and `search` for the
order in which candidates are tried.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from qviz.context import Context
from qviz.detector import AP_SCORE
from qviz.errors import DatasetError, QuantizeError, SettingsError
from qviz.features.accuracy.evaluator import Evaluator, Measurement, floods, mean_loss
from qviz.features.building.build import builders
from qviz.features.building.recipes import RECIPES, recipe_of
from qviz.features.building.source import Source
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_built
from qviz.features.rescuing.candidates import Candidates, journal_of
from qviz.features.rescuing.result import AP, LATENCY, SIZE, Budget, Chosen, ImageCounts, ReferenceFile, Rescue, Tried
from qviz.features.rescuing.search import MAX_TRIES, Search
from qviz.formatting import listed, plural
from qviz.structures import Dataset, EncodedImage, Loss, file_digest

__all__ = ["Budget", "Request", "Rescue", "halves", "rescue"]

SEED = 20261128
INTEGER_RECIPES = tuple(name for name, row in RECIPES.items() if row.needs_calibration)
MIN_IMAGES = 8
"""Minimum number of images for a rescue; each half gets half of them."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of a rescue. Raises SettingsError for an invalid value and QuantizeError for an unknown recipe.

    Attributes:
        prefer: What to minimise: `size` or `latency`.
        recipes: Names of the recipes to try; by default all that fit the network.
        tries: Maximum number of candidates.
        integers_only: Whether to try only recipes with integer activations, and to keep no operator in float.
        score: Minimum confidence of a detection that counts in AP.
    """

    budget: Budget
    prefer: str = SIZE
    recipes: tuple[str, ...] = ()
    tries: int = MAX_TRIES
    score: float = AP_SCORE
    integers_only: bool = False

    def __post_init__(self) -> None:
        if self.prefer not in (SIZE, LATENCY):
            raise SettingsError(f"{self.prefer!r} cannot be preferred; choose {SIZE} or {LATENCY}.")
        if not 1 <= self.tries <= 1000:
            raise SettingsError(
                f"{self.tries} tries are not possible; give a number between 1 and 1000, e.g. {MAX_TRIES}."
            )
        if self.budget.max_cycles is not None and not self.integers_only:
            raise SettingsError(
                "A budget of cycles counts only what the NPU runs; add --integers-only, so that no operator is moved to"
                " the CPU."
            )
        for name in self.recipes:
            if self.integers_only and not recipe_of(name).needs_calibration:
                raise SettingsError(
                    f"Recipe {name} computes in float; with --integers-only choose {listed(INTEGER_RECIPES)}."
                )
            recipe_of(name)

    @property
    def recipe_names(self) -> tuple[str, ...]:
        return self.recipes or (INTEGER_RECIPES if self.integers_only else tuple(RECIPES))


def rescue(
    context: Context,
    reference: LoadedModel,
    source: Source,
    calibration: Sequence[EncodedImage],
    dataset: Dataset,
    request: Request,
    report_dataset: Dataset | None = None,
) -> Rescue:
    """The smallest or fastest variant within the budget.

    The result so far is reported as a partial result after each candidate. If the context has a store, all measurements
    are written to a journal beside it, and a search that was killed continues from there.

    Args:
        source: The reference in the form that builders read, see `qviz.features.building.source_of`.
        calibration: Images to calibrate with, preferably not images of the dataset.
        dataset: Images to measure on: one half for the search, the other for the report.
        report_dataset: Other images for the report; then the search uses all images of `dataset`.

    Returns:
        Every candidate with its size and loss; `data` is the .tflite file of the best one, `chosen` its loss on the
        report half with a 95 % interval.

    Raises:
        Cancelled, ImageError, ModelError, WorkerError.
        DatasetError: There are too few images. With a budget of AP, also if no image is annotated or if the reference
            detects none of the annotated objects.
        QuantizeError: Nothing can be built, or calibration images are missing.
    """
    _check(reference, calibration, request)
    start = time.monotonic()
    parts = halves(dataset) if report_dataset is None else (dataset, report_dataset)
    search, search_reference = _evaluator(context, reference, parts[0], request, "search")
    report, report_reference = _evaluator(context, reference, parts[1], request, "report")
    _check_annotated((search_reference, report_reference), request.budget, dataset)
    remarks = [*dataset.skipped, *search.skipped, *report.skipped, *_overlap(calibration, search, report)]
    folder = None if context.store is None else context.store.path.parent / "rescue"
    journal = journal_of(folder, source, calibration, search, request.score)
    data = source, calibration, search, search_reference, request.budget, request.prefer, journal, request.integers_only
    with builders(min(2, context.engine.workers)) as workers:
        candidates = Candidates(context, workers, reference, *data, remarks=remarks)
        candidates.read_journal()
        result = partial(_result, candidates, ImageCounts(search.images, report.images), start)

        def report_state(*state: Any) -> None:
            context.progress.partial(result(*state))

        searching = Search(candidates, request.recipe_names, request.tries, report_state)
        searching.run()
        best = searching.best
        if best is None:
            raise QuantizeError(f"No candidate could be built and run. {searching.tried[0].error}")
        finished = replace(
            result(searching.tried, best, searching.data),
            chosen=_on_report_half(candidates, best, searching.data, report, report_reference),
            contributions=searching.contributions(best),
            warnings=lint_built(context, reference, searching.data, f"{reference.name} + {best.candidate.name}"),
        )
    context.progress.partial(finished)
    return finished


def halves(dataset: Dataset, seed: int = SEED) -> tuple[Dataset, Dataset]:
    """(search half, report half), drawn at random; each keeps the dataset's order.

    Raises DatasetError for too few images.
    """
    count = len(dataset.images)
    if count < MIN_IMAGES:
        raise DatasetError(
            f"{dataset.name} has {plural(count, 'image')}; a rescue needs at least {MIN_IMAGES}: it searches on one"
            " half of them and reports on the other."
        )
    in_search = set(np.random.default_rng(seed).permutation(count)[: (count + 1) // 2].tolist())
    rows = list(enumerate(dataset.images))
    search = tuple(image for position, image in rows if position in in_search)
    report = tuple(image for position, image in rows if position not in in_search)
    return replace(dataset, images=search), replace(dataset, images=report)


def _evaluator(
    context: Context, reference: LoadedModel, half: Dataset, request: Request, name: str
) -> tuple[Evaluator, Measurement]:
    """(evaluator for one half of the images, the measurement of the reference on this half)."""
    context.progress.step(f"Running the reference on the {name} half")
    evaluator = Evaluator(context, [reference], half, request.score)
    measurement = context.wait(evaluator.measure(context, reference, resamples=0))
    if request.budget.measure == AP and measurement.ap is not None:
        evaluator.check_truth(measurement.ap)
    if request.budget.measure != AP and measurement.agreement is None:
        raise DatasetError(
            f"{reference.name} detects no object on the {name} half of the images, so no agreement with it can be"
            " measured; use images that show objects, and check how they are prepared (mean, std)."
        )
    return evaluator, measurement


def _result(
    candidates: Candidates, images: ImageCounts, start: float, tried: tuple[Tried, ...], best: Tried | None, data: bytes
) -> Rescue:
    """The result of the search so far."""
    reference = candidates.reference
    remarks = (*candidates.remarks, *candidates.journal.remarks)
    return Rescue(
        ReferenceFile(reference.name, reference.digest, reference.bytes),
        candidates.budget,
        candidates.prefer,
        images,
        tried,
        best,
        data,
        ranges=dict(candidates.ranges),
        remarks=tuple(dict.fromkeys(remarks)),
        seconds=time.monotonic() - start,
    )


def _on_report_half(
    candidates: Candidates, best: Tried, data: bytes, report: Evaluator, reference: Measurement
) -> Chosen:
    """The best candidate, measured on the report half, on which no choice depends."""
    context, budget = candidates.context, candidates.budget
    model = candidates.loaded(best.candidate, data)
    context.progress.step("Measuring the best candidate on the report half")
    first, second, loss = _measured_pair(candidates, model, report)
    within = loss.value is not None and loss.value <= budget.limit and not floods(first, second)
    return Chosen(
        best,
        loss,
        within,
        report.images,
        second.ap,
        reference.ap,
        second.agreement,
        second.false_alarms,
        first.false_alarms,
        loss_on_search=_measured_pair(candidates, model, candidates.search)[2],
    )


def _measured_pair(
    candidates: Candidates, model: LoadedModel, evaluator: Evaluator
) -> tuple[Measurement, Measurement, Loss]:
    """(the reference, the model, the model's loss with its interval) on the evaluator's images."""
    context = candidates.context
    detected = evaluator.detect(context, [model])
    jobs = evaluator.measure(context, candidates.reference), evaluator.measure(context, model, detected)
    first, second = (context.wait(job) for job in jobs)
    if candidates.budget.measure == AP:
        return first, second, mean_loss([first], [second], evaluator.images)
    return first, second, mean_loss([first.in_agreement()], [second.in_agreement()], evaluator.images)


def _check(reference: LoadedModel, calibration: Sequence[EncodedImage], request: Request) -> None:
    if not reference.layers_available:
        raise QuantizeError(f"{reference.name} {reference.refusal}" if reference.refusal else reference.no_layers)
    if any(recipe_of(name).needs_calibration for name in request.recipe_names) and not calibration:
        raise QuantizeError(
            "A rescue needs calibration images: give 50 to 500 representative ones (--calibration DIR)."
        )


def _check_annotated(references: Sequence[Measurement], budget: Budget, dataset: Dataset) -> None:
    if budget.measure == AP and any(reference.ap is None for reference in references):
        raise DatasetError(
            f"A half of {dataset.name} has no annotated object of a class that the model has, so a loss of AP cannot be"
            " measured; give more images, or a budget in agreement."
        )


def _overlap(calibration: Sequence[EncodedImage], *evaluators: Evaluator) -> list[str]:
    digests = {file_digest(digest) for evaluator in evaluators for digest in evaluator.digests.values()}
    common = len({image.file_digest for image in calibration} & digests)
    if not common:
        return []
    return [
        f"{plural(common, 'image')} of the dataset {'is a' if common == 1 else 'are'} calibration"
        f" {'image' if common == 1 else 'images'} too: losses on them look slightly smaller than they are."
    ]
