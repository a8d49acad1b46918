"""Build the cures of a diagnosis and measure them on images used neither for the diagnosis nor for calibration.

The images are divided at random into two halves, as in a rescue. The diagnosis and the choice among the built files use
the first half; the reported figures are measured on the second half. Neither half contains calibration images. If the
chosen file is not better than the variant on the second half, it is not offered, because a few objects may point to a
cause that other images do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.context import Context
from qviz.errors import Cancelled, DatasetError, QuantizeError, QvizError
from qviz.features.accuracy.bootstrap import interval
from qviz.features.accuracy.evaluator import Evaluator, Measurement
from qviz.features.building import quantize
from qviz.features.building.recipes import Options
from qviz.features.building.result import Built, check_integers_only
from qviz.features.building.source import Source
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.diagnosis.price import with_built
from qviz.features.diagnosis.result import Cure, Diagnosis, Estimate
from qviz.features.rescuing import halves
from qviz.structures import Dataset, EncodedImage

MAX_BUILT = 5
"""Maximum number of cures that are built, the best predictions first."""


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """One built cure. on_search: its AP or agreement on the first half, by which the best cure is chosen."""

    cure: Cure
    built: Built
    on_search: float


def split(dataset: Dataset, calibration: Sequence[EncodedImage]) -> tuple[Dataset, Dataset]:
    """(images to diagnose and choose on, images to report on), both without the calibration images.

    Raises DatasetError if fewer than eight images are left.
    """
    digests = {image.file_digest for image in calibration}
    rows = tuple(image for image in dataset.images if image.encoded().file_digest not in digests)
    if len(rows) < len(dataset.images) and len(rows) < 2:
        raise DatasetError(
            "All images were used for calibration, so none is left to measure a cure on; give others (--images)."
        )
    return halves(replace(dataset, images=rows))


def fixed(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    source: Source,
    calibration: Sequence[EncodedImage],
    result: Diagnosis,
    data: tuple[Dataset, Dataset],
    integers_only: bool = False,
) -> Diagnosis:
    """Build the cures of a diagnosis and measure them. Returns the diagnosis with the measured cures, the best first.

    Its `built` is the file of the best cure, or None if that is not better than the variant on the second half.

    Args:
        source: The reference as builders read it.
        data: The two halves that `split` returned.
        integers_only: Whether to build only files that compute on integers alone.

    Raises:
        Cancelled.
        QuantizeError: No cure fits, or none could be built.
    """
    cures = [cure for cure in result.cures if cure.plan is not None and (cure.integers_only or not integers_only)]
    if not cures:
        kind = " in integers alone" if integers_only else ""
        raise QuantizeError(f"The diagnosis offers no cure{kind} that qviz can build. {result.verdict}")
    search, report = (Evaluator(context.quiet(), [reference, variant], half) for half in data)
    trials: list[_Trial] = []
    errors: list[str] = []
    for cure in cures[:MAX_BUILT]:
        context.progress.step(f"Building and measuring: {cure.sentence}")
        try:
            trials.append(_tried(context, reference, source, calibration, cure, (search, report), integers_only))
        except Cancelled:
            raise
        except QvizError as error:
            errors.append(str(error))
    if not trials:
        raise QuantizeError(f"No cure could be built. {' '.join(errors[:2])}")
    trials.sort(key=lambda trial: -trial.on_search)
    rest = [cure for cure in result.cures if all(trial.cure.code != cure.code for trial in trials)]
    best, before = trials[0], _estimate(context, report, variant)
    holds = _is_better(best.cure.measured, before)
    measured = (*(trial.cure for trial in trials), *rest)
    return replace(result, cures=measured, before=before, built=best.built if holds else None)


def _is_better(cure: Estimate | None, before: Estimate) -> bool:
    return cure is not None and (cure.value or 0.0) > (before.value or 0.0)


def _tried(
    context: Context,
    reference: LoadedModel,
    source: Source,
    calibration: Sequence[EncodedImage],
    cure: Cure,
    evaluators: tuple[Evaluator, Evaluator],
    integers_only: bool,
) -> _Trial:
    """Build one cure and measure it on both halves."""
    plan = cure.plan
    assert plan is not None, "cures without a plan are left out"
    built = quantize(
        context.quiet(),
        source,
        plan.recipe,
        calibration=calibration,
        ranges=plan.ranges,
        options=Options.of(**plan.options),
        cures=plan.cures,
    )
    model = follow(load_model(context.engine, ModelSource(f"{cure.code}.tflite", built.data)), reference)
    if integers_only:
        check_integers_only(model.inspection.graph)
    on_search, on_report = (_measurement(context, evaluator, model) for evaluator in evaluators)
    estimate = _estimated(on_report, evaluators[1].images)
    measured = with_built(replace(cure, measured=estimate, bytes=built.size), model)
    return _Trial(measured, built, on_search.value or 0.0)


def _measurement(context: Context, evaluator: Evaluator, model: LoadedModel) -> Measurement:
    detected = evaluator.detect(context.quiet(), [model])
    return context.wait(evaluator.measure(context, model, detected))


def _estimate(context: Context, evaluator: Evaluator, model: LoadedModel) -> Estimate:
    return _estimated(context.wait(evaluator.measure(context, model)), evaluator.images)


def _estimated(row: Measurement, images: int) -> Estimate:
    draws = np.asarray(row.draws, np.float64)
    return Estimate("agreement" if row.ap_draws is None else "ap", row.value, *interval(draws, images), images)
