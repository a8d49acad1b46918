"""Which slices exceed a variant's calibrated ranges, which images to add to the calibration, and the gain from them.

alarms     images whose activations are far outside the variant's ranges, see `corruption_sweep.out_of_range`
to add     a small set of a slice's images that covers the excess over the ranges, chosen as in that module
gain       int8 is built twice: from the calibration images, and from these and the images to add. The gain is the AP
           or agreement of the second file minus that of the first, so positive is better, with the interval of the
           paired bootstrap

To measure a gain, the slice without the calibration images is divided into two random halves. Images to add come from
the first half, and both files are measured on the second half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import AP_SCORE
from qviz.errors import DatasetError, QuantizeError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.bootstrap import SEED
from qviz.features.accuracy.evaluator import Evaluator, Measurement, mean_loss
from qviz.features.accuracy.measured import measured_dataset
from qviz.features.accuracy.slice_loss import SliceLoss
from qviz.features.building.build import builders
from qviz.features.building.calibration import DEFAULT_METHOD, calibration_of, measure_ranges
from qviz.features.building.source import Source
from qviz.features.calibrating.result import Trial
from qviz.features.calibrating.trials import TrialRunner
from qviz.features.corruption_sweep.out_of_range import Addition, ImageReaches, image_reaches
from qviz.features.detection.inference import Reading
from qviz.features.detection.models import LoadedModel
from qviz.features.slices.losses import rank
from qviz.formatting import plural
from qviz.structures import Dataset, DatasetImage, EncodedImage, Loss

MAX_IMAGES = 200
"""Maximum number of images, evenly spread over the dataset, whose activations are compared with the ranges."""
MIN_MEASURED = 4
"""Minimum number of images on which a gain is measured."""


@dataclass(frozen=True, slots=True)
class SliceAlarm:
    """One slice. images: number of its images that were examined; alarms: number of these images with an alarm."""

    trait: str
    group: str
    meaning: str
    images: int
    alarms: int

    JSON_ALSO: ClassVar = ("share",)

    @property
    def share(self) -> float:
        """Share of the images with an alarm, in [0, 1]."""
        return self.alarms / self.images if self.images else 0.0


@dataclass(frozen=True, slots=True)
class Gain:
    """One measure of the files built without and with the added images.

    Attributes:
        measure: `AP`, or `agreement` with the reference; the values are in [0, 1], or None if unknown.
        variant: Value of the given variant.
        without: Value of the file that was built without the added images.
        with_added: Value of the file that was built with the added images.
        gain: `with_added` minus `without`; positive is better.
    """

    measure: str
    variant: float | None
    without: float | None
    with_added: float | None
    gain: Loss


@dataclass(frozen=True, slots=True)
class CalibrationGain:
    """The gain of adding images to the calibration, measured on other images of the slice.

    Attributes:
        recipe, method: Recipe of the built files, and method that computes their ranges.
        calibration_images: Number of calibration images, without the added ones.
        added: Number of added images.
        images: Number of images of the slice on which the files were measured.
        gains: The gain in AP, if objects are annotated, and the gain in agreement.
    """

    recipe: str
    method: str
    calibration_images: int
    added: int
    images: int
    gains: tuple[Gain, ...]


@dataclass(frozen=True, slots=True, eq=False)
class SliceRanges:
    """The alarms of one variant by slice, and images to calibrate with.

    Attributes:
        images, alarms: Number of images that were examined, and number of these images with an alarm.
        slices: One entry per slice, in the order of the evaluation's slices.
        worst: The slice with the clearest excess loss of the variant; None if there is no such slice.
        add: Images of the worst slice to add to the calibration, the most useful one first.
        gain: The gain of adding these images; None if it was not measured.
        reaches: The reach of every layer on every image.
    """

    variant: str
    images: int
    alarms: int
    slices: tuple[SliceAlarm, ...]
    worst: SliceLoss | None
    add: tuple[Addition, ...] = ()
    gain: CalibrationGain | None = None
    skipped: tuple[str, ...] = ()
    reaches: ImageReaches = field(default_factory=lambda: ImageReaches("", (), ()))

    JSON_NAMES: ClassVar[Mapping[str, str | None]] = {"reaches": None, "worst": None}
    JSON_ALSO: ClassVar = ("worst_slice",)

    @property
    def worst_slice(self) -> dict[str, str] | None:
        """Trait, group and meaning of the worst slice."""
        row = self.worst
        return None if row is None else {"trait": row.trait, "group": row.group, "meaning": row.meaning}

    def to_add(self, names: Iterable[str]) -> tuple[Addition, ...]:
        """The images to add to the calibration, chosen among the examined images with these names."""
        chosen = set(names)
        digests = {digest for name, digest in self.reaches.names if name in chosen}
        return self.reaches.of(digests).ranked().add if digests else ()


def slice_ranges(
    context: Context, evaluation: Evaluation, pair: tuple[LoadedModel, LoadedModel], dataset: Dataset
) -> SliceRanges:
    """Compare the reference's activations with a variant's ranges on the dataset's images, and count alarms by slice.

    Args:
        evaluation: An evaluation of the dataset, with `slices`.
        pair: The reference and the variant.
        dataset: The dataset that was evaluated.

    Raises:
        Cancelled, DatasetError: The evaluation has no slices.
        ModelError, WorkerError: A model has no layers that can be read.
    """
    if evaluation.slices is None:
        raise DatasetError("There are no slices; evaluate with slices, e.g. slices='all'.")
    reference, variant = pair
    chosen = measured_dataset(evaluation, dataset).spread(MAX_IMAGES).images
    context.progress.step("Comparing activations with the variant's ranges")
    reaches = image_reaches(context, reference, variant, Reading().of(chosen), len(chosen))
    ranked = reaches.ranked()
    alarms = {image.image for image in ranked.alarms}
    examined = {name for name, _ in reaches.names}
    rows = evaluation.slices.rows
    worst = worst_slice(rows, [row.name for row in evaluation.models[1:]].index(variant.name))
    result = SliceRanges(
        variant=variant.name,
        images=len(ranked.images),
        alarms=len(alarms),
        slices=tuple(_alarm(row, examined, alarms) for row in rows),
        worst=worst,
        skipped=ranked.skipped,
        reaches=reaches,
    )
    return result if worst is None else replace(result, add=result.to_add(worst.image_names))


def _alarm(row: SliceLoss, examined: set[str], alarms: set[str]) -> SliceAlarm:
    names = examined.intersection(row.image_names)
    return SliceAlarm(row.trait, row.group, row.meaning, len(names), len(names & alarms))


def worst_slice(rows: Sequence[SliceLoss], variant: int) -> SliceLoss | None:
    """The slice with the clearest excess loss of a variant; None if there is none. variant: its index, from 0."""
    row = min(rows, key=lambda row: rank(row.losses[variant].excess), default=None)
    return row if row is not None and (row.losses[variant].excess.value or 0.0) > 0 else None


def with_gain(
    context: Context,
    result: SliceRanges,
    pair: tuple[LoadedModel, LoadedModel],
    source: tuple[LoadedModel, Source],
    calibration: Sequence[EncodedImage],
    dataset: Dataset,
    method: str = DEFAULT_METHOD,
) -> SliceRanges:
    """The result with the images to add, from one half of the worst slice, and their gain on the other half.

    If there is no image to add, or too few to measure on, `skipped` says so.

    Args:
        pair: The reference and the variant.
        source: The float32 model from which int8 is built, and the same model in the form that builders read.
        calibration: Calibration images.
        dataset: The dataset that was evaluated.
        method: Method that computes ranges.

    Raises:
        Cancelled, QuantizeError, WorkerError: int8 cannot be built.
    """
    if result.worst is None:
        sentence = f"{result.variant} loses more than elsewhere in no slice, so there is no image to add."
        return replace(result, skipped=(*result.skipped, sentence))
    search, rest = _halves(result.worst, dataset, {image.file_digest for image in calibration})
    add = result.to_add(image.name for image in search)
    if not add or len(rest) < MIN_MEASURED:
        count = f"{plural(len(add), 'image')} to add and {plural(len(rest), 'image')} to measure on"
        sentence = (
            f"What further calibration images bring in {result.worst.meaning} cannot be measured: without the"
            f" calibration images it has {count}; at least 1 and {MIN_MEASURED} are needed."
        )
        return replace(result, skipped=(*result.skipped, sentence))
    by_name = {image.name: image for image in search}
    added = [by_name[row.image].encoded() for row in add]
    gain = _gain(context, pair, source, (calibration, added), replace(dataset, images=tuple(rest)), method)
    return replace(result, add=add, gain=gain)


def _halves(row: SliceLoss, dataset: Dataset, digests: set[str]) -> tuple[list[DatasetImage], list[DatasetImage]]:
    """Two random halves of a slice's images. Images with these digests (calibration images) are left out."""
    names = set(row.image_names)
    images = [image for image in dataset.images if image.name in names and image.encoded().file_digest not in digests]
    order = np.random.default_rng(SEED).permutation(len(images))
    return [images[i] for i in sorted(order[::2])], [images[i] for i in sorted(order[1::2])]


def _gain(
    context: Context,
    pair: tuple[LoadedModel, LoadedModel],
    source: tuple[LoadedModel, Source],
    images: tuple[Sequence[EncodedImage], Sequence[EncodedImage]],
    dataset: Dataset,
    method: str,
) -> CalibrationGain:
    """Build both files and measure the gain. images: (calibration images, added images); dataset: to measure on."""
    reference, build_source = source
    calibration, added = ({image.digest: image for image in part} for part in images)
    with builders() as workers:
        context.progress.step("Measuring ranges")
        model = context.engine.share(build_source.float_data, build_source.float_digest)
        everything = list((calibration | added).values())
        measured = measure_ranges(context, model, build_source.settings, everything, method)
        before = [row for row, digest in enumerate(measured.digests) if digest in calibration]
        trials = [
            Trial("slice", name, name, len(rows), calibration_of(measured.of(rows), model.digest, method))
            for name, rows in (("without", before), ("with", range(measured.images)))
        ]
        context.progress.step("Building and measuring int8")
        evaluator = Evaluator(context, [reference, pair[1]], dataset, AP_SCORE)
        runner = TrialRunner(context, workers, evaluator, build_source, RECIPE, len(trials))
        for _ in runner.run(trials):
            pass
        without, with_added = (_built(outcome) for outcome in runner.measured(wait=True).values())
        rows = context.wait(evaluator.measure(context, pair[1])), without, with_added
    gains = [_gain_of("agreement", [row.in_agreement() for row in rows], evaluator.images)]
    if evaluator.annotated:
        gains.insert(0, _gain_of("AP", rows, evaluator.images))
    return CalibrationGain(RECIPE, method, len(before), measured.images - len(before), evaluator.images, tuple(gains))


def _gain_of(measure: str, rows: Sequence[Measurement], images: int) -> Gain:
    """The gain in one measure. rows: of the variant, of the file built without, and of that with the added images."""
    gain = mean_loss([rows[2]], [rows[1]], images)
    return Gain(measure, rows[0].value, rows[1].value, rows[2].value, gain)


RECIPE = "int8"


def _built(outcome: Measurement | str) -> Measurement:
    if isinstance(outcome, str):
        raise QuantizeError(outcome)
    return outcome
