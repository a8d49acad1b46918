"""The calibration lab: how many images calibration needs, which ones, and what a wrong calibration costs.

The ranges on each image are measured once, so that subsets cost no further runs. Each trial is actually built and run:
the curve over the number of images (with several seeded draws per number), the other methods for ranges, the images
without outliers, and the usual mistakes. The module `result` explains the figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from qviz.context import Context
from qviz.datasets.files import unannotated_images
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.errors import DatasetError, QuantizeError, SettingsError
from qviz.features.accuracy.evaluator import Evaluator, Measurement
from qviz.features.building.build import builders
from qviz.features.building.calibration import ImageRanges, calibration_of, check_method, measure_ranges
from qviz.features.building.conditions import check
from qviz.features.building.recipes import RECIPES, recipe_of
from qviz.features.building.source import Source
from qviz.features.calibrating.mistakes import MISTAKES, CalibrationImages, brightness_job
from qviz.features.calibrating.result import CalibrationLab, Trial, curve_of, tried_of
from qviz.features.calibrating.stability import outliers, stability
from qviz.features.calibrating.trials import (
    TrialRunner,
    curve_sizes,
    curve_trials,
    method_trials,
    mistake_trials,
    outlier_trials,
)
from qviz.features.corruption_sweep.out_of_range import out_of_range
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.lint import lint_all
from qviz.formatting import listed
from qviz.structures import Dataset, EncodedImage, Graph

__all__ = ["MISTAKES", "CalibrationLab", "Plan", "calibrated_recipes", "calibration", "halves"]

SEED = 20261128
MIN_IMAGES = 4
"""Minimum number of images without a dataset: one half is used for calibration, the other half for measuring."""
MAX_CANDIDATES = 100
"""Images of the dataset, evenly spread, that are examined as additions to the calibration."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The calibrations that the lab tries.

    Attributes:
        recipe: A recipe with calibrated ranges, e.g. `int8`.
        ranges: Name of the method that computes the ranges.
        draws: Number of random draws of each number of images, from 1 to 50.
        seed: Seed of the draws, of the split of the images and of the random numbers.
        mistakes: Names from `MISTAKES`.
        further: Whether the lab also examines outliers, the other methods, and which images to add.
    """

    recipe: str = "int8"
    ranges: str = "minmax"
    draws: int = 3
    seed: int = SEED
    mistakes: tuple[str, ...] = tuple(MISTAKES)
    further: bool = True

    @classmethod
    def of(cls, **options: Any) -> Plan:
        """A checked plan with these options. Raises QuantizeError or SettingsError if one is invalid."""
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in options if name not in names]:
            raise SettingsError(f"Option {unknown[0]!r} does not exist; choose from {listed(names, len(names))}.")
        if "mistakes" in options:
            options["mistakes"] = tuple(options["mistakes"])
        plan = cls(**options)
        plan.check()
        return plan

    def check(self) -> None:
        """Raise QuantizeError or SettingsError if an option is invalid."""
        check_method(self.ranges)
        if not recipe_of(self.recipe).needs_calibration:
            names = listed(calibrated_recipes())
            raise QuantizeError(f"Recipe {self.recipe} does not need calibration; choose {names}.")
        if unknown := [name for name in self.mistakes if name not in MISTAKES]:
            raise SettingsError(f"Mistake {unknown[0]!r} does not exist; choose from {', '.join(MISTAKES)}.")
        if not 1 <= self.draws <= 50:
            raise SettingsError(f"The number of draws is {self.draws}; give a number from 1 to 50.")

    def trials(self, images: int) -> int:
        """Approximate number of variants built for this number of calibration images."""
        return (len(curve_sizes(images)) - 1) * self.draws + 1 + len(self.mistakes) + 3 * self.further


def calibrated_recipes() -> list[str]:
    """Names of the recipes whose activations have fixed ranges."""
    return [name for name, recipe in RECIPES.items() if recipe.needs_calibration]


def calibration(
    context: Context,
    reference: LoadedModel,
    source: Source,
    images: Sequence[EncodedImage],
    dataset: Dataset | None = None,
    *,
    plan: Plan = Plan(),
    score: float = AP_SCORE,
) -> CalibrationLab:
    """Build and measure calibrations of a float32 model.

    Args:
        reference: The float32 model.
        source: The same model in the form that builders read, see `qviz.features.building.source_of`.
        images: Calibration images.
        dataset: Images to measure on: AP if they are annotated, or else agreement with the reference. If None, half of
            `images` is used for calibration, and agreement is measured on the other half.
        score: Minimum confidence of a detection that counts in AP.

    Returns:
        AP or agreement of each calibration, in [0, 1]; a positive loss means that the variant is worse.

    Raises:
        Cancelled, DatasetError, ModelError, QuantizeError, SettingsError, WorkerError.
    """
    plan.check()
    check(recipe_of(plan.recipe), source.graph)
    if dataset is None:
        images, dataset = halves(images, plan.seed)
    unique = list({image.digest: image for image in images}.values())
    with builders() as workers:  # they start while the ranges are measured
        prepared, seconds = _calibration_images(context, reference, source, unique, plan)
        context.progress.step("Running the reference")
        evaluator = Evaluator(context, [reference], dataset, score)
        runner = TrialRunner(context, workers, evaluator, source, plan.recipe, plan.trials(len(prepared.images)))
        return _run(context, plan, prepared, runner, seconds)


def halves(images: Sequence[EncodedImage], seed: int) -> tuple[list[EncodedImage], Dataset]:
    """(images to calibrate with, the other half to measure on). Raises DatasetError if there are too few images."""
    if len(images) < MIN_IMAGES:
        raise DatasetError(
            "Without a dataset, calibrations are measured on one half of the calibration images; this needs at least"
            f" {MIN_IMAGES} images ({len(images)} given). Give more, or annotated images."
        )
    order = np.random.default_rng(seed).permutation(len(images))
    first, second = sorted(order[::2]), sorted(order[1::2])
    return [images[i] for i in first], unannotated_images("the other half", [images[i] for i in second])


def _calibration_images(
    context: Context, reference: LoadedModel, source: Source, images: Sequence[EncodedImage], plan: Plan
) -> tuple[CalibrationImages, float]:
    """(images that can be read, seconds that measuring their ranges took).

    Raises Cancelled, QuantizeError, WorkerError.
    """
    start = time.perf_counter()
    context.progress.step("Measuring ranges")
    model = context.engine.share(source.float_data, source.float_digest)
    measured = measure_ranges(context, model, source.settings, images, plan.ranges)
    calibration_of(measured, model.digest, plan.ranges)  # raises QuantizeError if no image could be read
    seconds = time.perf_counter() - start
    context.progress.step("Looking at the calibration images")
    by_digest = {image.digest: image for image in images}
    readable = [by_digest[digest] for digest in measured.digests]
    jobs = [context.engine.submit(brightness_job, image) for image in readable]
    prepared = CalibrationImages(
        context=context.quiet(),
        model=model,
        settings=source.settings,
        method=plan.ranges,
        seed=plan.seed,
        images=readable,
        measured=measured,
        classes=_classes(context, reference, readable),
        brightness=np.array([context.wait(job) for job in jobs]),
        sizes=curve_sizes(measured.images),
    )
    return prepared, seconds


def _classes(context: Context, reference: LoadedModel, images: Sequence[EncodedImage]) -> list[str | None]:
    """Label of the reference's most confident object on each image."""
    detected = detect_images(context, [reference], images, len(images), PAGE_SCORE, candidates=False)
    classes: list[str | None] = []
    for image in images:
        inference = detected.inferences.get((reference.digest, image.digest))
        objects = None if inference is None else inference.detections
        class_id = None if objects is None or not len(objects) else int(objects.class_ids[objects.scores.argmax()])
        classes.append(None if class_id is None else reference.inspection.label(class_id))
    return classes


def _run(
    context: Context, plan: Plan, images: CalibrationImages, runner: TrialRunner, seconds: float
) -> CalibrationLab:
    """Examine the images, then build and measure the trials. Partial results are reported after each step."""
    evaluator = runner.evaluator
    reference = context.wait(evaluator.measure(context, evaluator.reference))
    lab = _without_trials(context, plan, images.measured, evaluator, reference, seconds)
    whole, *draws = curve_trials(images.measured, images.model.digest, plan.ranges, plan.draws, plan.seed)
    variant = runner.build(whole)
    lab = _with_examined_images(context, plan, images, runner.source.graph, variant, lab)
    skipped: list[str] = []

    def trials() -> Iterator[Trial]:
        yield from (whole, *draws)
        yield from mistake_trials(images, plan.mistakes, skipped)
        if plan.further:
            yield from outlier_trials(images, lab.outliers)
            yield from method_trials(images)

    context.progress.step("Building and measuring calibrations")
    for _ in runner.run(trials()):
        context.progress.partial(_with_trials(lab, runner, reference))
    if plan.further and evaluator.reference.layers_available:
        context.progress.step("Looking for images to add")
        candidates = [image.encoded() for image in evaluator.dataset.spread(MAX_CANDIDATES).images]
        lab = replace(lab, add=out_of_range(context, evaluator.reference, variant, candidates).add)
    lab = replace(lab, skipped=(*lab.skipped, *skipped))
    return _with_trials(lab, runner, reference, wait=True)


def _without_trials(
    context: Context,
    plan: Plan,
    measured: ImageRanges,
    evaluator: Evaluator,
    reference: Measurement,
    seconds: float,
) -> CalibrationLab:
    return CalibrationLab(
        source=evaluator.reference.name,
        recipe=plan.recipe,
        method=plan.ranges,
        images=measured.images,
        dataset=evaluator.dataset.name,
        evaluated_images=evaluator.images,
        annotated=evaluator.annotated,
        reference=reference.value,
        seconds=seconds,
        skipped=(*measured.skipped, *evaluator.skipped),
        warnings=tuple(lint_all(context, [evaluator.reference])),
    )


def _with_examined_images(
    context: Context, plan: Plan, images: CalibrationImages, graph: Graph, variant: LoadedModel, lab: CalibrationLab
) -> CalibrationLab:
    """The lab with stability and outliers filled in, for the layers that the variant actually quantizes."""
    tensors = variant.inspection.graph.tensors
    quantized = {tensor.name for tensor in tensors if tensor.quantized and not tensor.constant}
    stable = stability(images.measured, graph, quantized, images.sizes, plan.ranges, plan.seed)
    lab = replace(lab, stability=stable)
    context.progress.partial(lab)
    if plan.further:
        context.progress.step("Comparing the calibration images")
        lab = replace(lab, outliers=outliers(context, images, quantized))
        context.progress.partial(lab)
    return lab


def _with_trials(
    lab: CalibrationLab, runner: TrialRunner, reference: Measurement, wait: bool = False
) -> CalibrationLab:
    """The lab with the measured trials filled in. `wait`: whether to wait for measurements that are still running."""
    measured, images = runner.measured(wait), runner.evaluator.images
    rows = tried_of(measured, reference, images)
    return replace(
        lab,
        curve=curve_of(measured, rows, images),
        methods=tuple(tried for trial, tried in rows if trial.group == "method"),
        without_outliers=next((tried for trial, tried in rows if trial.group == "outliers"), None),
        mismatch=tuple(tried for trial, tried in rows if trial.group == "mismatch"),
    )
