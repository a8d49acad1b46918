"""Quantization-aware training without labels: the float32 network teaches its quantized copy.

    float32 .tflite + images -> training steps -> the same file with other constants -> the recipe's builder

* The .tflite file itself is trained (see `keras_graph`); Keras files and SavedModels are first converted to .tflite.
  The trained file therefore has the same post-processing, labels and names, and the same builder quantizes it.
* During training, weights are rounded exactly as the builder rounds them. The ranges of activations start from
  calibration, are trained like the weights, and are then passed to the builder.
* Training runs in a worker process in jobs of a few seconds, so that its progress is visible and it can be stopped. A
  training whose worker was killed continues from its checkpoint.
* The gain is measured on images that are held out of the training.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.context import Context
from qviz.datasets.files import unannotated_images
from qviz.detector import PAGE_SCORE
from qviz.engine import LocalEngine, importing, temporary_folder
from qviz.errors import QuantizeError
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.building.build import builders, start_building
from qviz.features.building.calibration import Calibration, calibrate
from qviz.features.building.recipes import recipe_of
from qviz.features.building.result import Built
from qviz.features.building.source import Source, float_model, source_of
from qviz.features.comparison.matching import agreement_of
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.features.training import trainer
from qviz.features.training.batches import packed
from qviz.features.training.plan import STEPS, Plan, plan_for
from qviz.features.training.trainer import Job, finish_job, train_job
from qviz.limits import limits
from qviz.result import Result
from qviz.structures import EncodedImage, digest_of
from qviz.tensorflow_models import SourceKind

if TYPE_CHECKING:
    import pandas as pd

MIN_IMAGES = 10
"""Minimum number of images, including the held-out images."""
HOLDOUT_EVERY = 5
"""One image in five is held out of the training."""
RESAMPLES = 1000
SECONDS_PER_JOB = 2.0
"""Seconds of training between two progress reports. The first report comes after one step."""


@dataclass(frozen=True, slots=True)
class Gain:
    """The improvement by training, measured on held-out images.

    Attributes:
        before, after: Agreement with FP32 of the variant without and with training, in [0, 1]; None if neither the
            variant nor FP32 finds an object.
        low, high: 95 % interval of `after - before` by paired bootstrap over the images; None if it is unknown.
        images: Number of held-out images.
    """

    before: float | None
    after: float | None
    low: float | None
    high: float | None
    images: int

    @property
    def value(self) -> float | None:
        return None if self.after is None or self.before is None else self.after - self.before

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True, repr=False)
class QatResult(Result):
    """The result of a training; `save("trained.tflite")` writes the trained variant.

    Attributes:
        losses: Loss of each step so far.
        steps: Planned number of steps.
        built: The trained variant; None while the training runs.
        untrained: The variant of the same recipe without training.
        float_data: The trained network as a float32 .tflite file.
        resumed_at: Number of steps that the checkpoint already contained.
        seconds: Time of training and building in this run.
        trained_on: Number of images trained on.
        gain: Improvement on held-out images; None before it is measured.
    """

    losses: tuple[float, ...]
    steps: int
    built: Built | None = None
    untrained: Built | None = None
    float_data: bytes = field(default=b"", repr=False)
    resumed_at: int = 0
    seconds: float = 0.0
    trained_on: int = 0
    gain: Gain | None = None

    @property
    def data(self) -> bytes:
        """The trained .tflite file; empty while the training runs."""
        return b"" if self.built is None else self.built.data

    def to_json(self) -> dict[str, Any]:
        """The document that `qviz qat --json` writes, without the name of the file."""
        gain, built = self.gain, {} if self.built is None else self.built.to_json()
        built.pop("calibration", None)
        return {
            "steps": [{"step": step, "loss": loss} for step, loss in enumerate(self.losses)],
            "before": None if gain is None else gain.before,
            "after": None if gain is None else gain.after,
            "gain": None if gain is None else {"value": gain.value, "low": gain.low, "high": gain.high},
            "verdict": str(self),
            "images": {"trained_on": self.trained_on, "held_out": 0 if gain is None else gain.images},
            "resumed_at": self.resumed_at,
            "training_seconds": self.seconds,
            **built,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per step."""
        import pandas as pd

        return pd.DataFrame({"step": range(len(self.losses)), "loss": self.losses})


def qat(
    context: Context,
    model: LoadedModel,
    images: Sequence[EncodedImage],
    *,
    recipe: str = "int8",
    steps: int | None = None,
    checkpoint: Path | None = None,
    finish_early: Event | None = None,
) -> QatResult:
    """Train a float32 model for a recipe, and measure the improvement.

    Args:
        images: Images, without labels; one in five is held out to measure the gain.
        recipe: A name from `qviz.features.building.RECIPES`.
        steps: Number of training steps, by default 240.
        checkpoint: Path of the checkpoint. If the file exists, the training continues from it. It is updated during the
            training, and the caller removes it afterwards.
        finish_early: Set this event to end the training after the current step and build the result so far.

    Raises:
        Cancelled: The training was cancelled; the checkpoint is kept.
        ImageError, ModelError, WorkerError.
        QuantizeError: The network cannot be trained for this recipe, or there are fewer than 10 different images.
    """
    source, row = source_of(model), recipe_of(recipe)
    model = float_model(context, model, source)
    plan = plan_for(source.graph, row, STEPS if steps is None else steps)
    used, holdout = split(images)
    calibration = None
    if row.needs_calibration:
        context.progress.step("Measuring ranges")
        calibration = calibrate(context, source, used, "minmax")  # training then changes these ranges
    with tempfile.TemporaryDirectory(prefix="qviz-") as folder:
        path = checkpoint or Path(folder) / "checkpoint.npz"
        result = train(context, source, used, plan, calibration, path, finish_early)
    context.progress.step("Measuring the gain on held-out images")
    return replace(result, gain=gain_of(context, model, result, holdout))


def split(images: Sequence[EncodedImage]) -> tuple[list[EncodedImage], list[EncodedImage]]:
    """(images to train on, held-out images), always the same for the same images. Duplicates are removed.

    Raises QuantizeError if there are too few images.
    """
    different = sorted({image.digest: image for image in images}.values(), key=lambda image: image.digest)
    if len(different) < MIN_IMAGES:
        raise QuantizeError(
            f"Training needs at least {MIN_IMAGES} different images, one in {HOLDOUT_EVERY} of which is held out"
            f" to measure the gain; {len(different)} were given. 100 or more representative images are better."
        )
    return [image for i, image in enumerate(different) if i % HOLDOUT_EVERY], different[::HOLDOUT_EVERY]


def train(
    context: Context,
    source: Source,
    images: Sequence[EncodedImage],
    plan: Plan,
    calibration: Calibration | None,
    checkpoint: Path,
    finish_early: Event | None = None,
) -> QatResult:
    """Train and build, without measuring the gain. Reports the losses so far as partial results.

    `calibration` has the ranges of `source`; it is needed if the recipe quantizes activations. Raises Cancelled,
    QuantizeError, WorkerError.
    """
    start = time.perf_counter()
    digest = plan.digest(source.float_digest, source.settings, [image.digest for image in images], calibration)
    saved = trainer.load(checkpoint, digest)
    losses = () if saved is None else saved.losses
    resumed_at, saved = len(losses), None  # frees the checkpoint's arrays, as the worker reads the file itself
    result = QatResult(losses, plan.steps, resumed_at=resumed_at, trained_on=len(images))
    context.progress.step("Preparing the network for training")
    with temporary_folder() as folder, training_worker(folder) as engine:
        workers_copy = folder.resolve() / "checkpoint.npz"
        trainer.copy_checkpoint(checkpoint, workers_copy)
        model = engine.share(source.float_data, source.float_digest)
        archive = packed(sorted(images, key=lambda image: image.digest))  # the order must not depend on the disk
        pictures = engine.share(archive, digest_of(archive))
        job = Job(model, pictures, source.settings, plan, calibration, digest, workers_copy)
        while len(losses) < plan.steps and not (losses and finish_early is not None and finish_early.is_set()):
            is_first = len(losses) == resumed_at
            losses = context.wait(engine.submit(train_job, job, 0.0 if is_first else SECONDS_PER_JOB))
            trainer.copy_checkpoint(workers_copy, checkpoint)
            if is_first:
                context.progress.step(f"Training from step {resumed_at}" if resumed_at else "Training")
            context.progress.advance(len(losses) - resumed_at, plan.steps - resumed_at)
            context.progress.partial(replace(result, losses=losses))
        float_data, ranges = context.wait(engine.submit(finish_job, job))
    context.progress.step("Building with and without training")
    built, untrained = _build_both(context, source, plan.recipe, calibration, float_data, ranges)
    seconds = time.perf_counter() - start
    return replace(result, losses=losses, built=built, untrained=untrained, float_data=float_data, seconds=seconds)


def training_worker(folder: Path) -> LocalEngine:
    """An engine with one worker, whose jobs may use more time and memory than usual, and may write into `folder`."""
    bounds = limits()
    warm_up = importing("qviz.features.building")
    return LocalEngine(1, bounds.build_seconds, bounds.training_memory_mb << 20, warm_up, folder)


def _build_both(
    context: Context,
    source: Source,
    recipe: str,
    calibration: Calibration | None,
    data: bytes,
    ranges: dict[str, tuple[float, float]],
) -> tuple[Built, Built]:
    """(trained, untrained) variant of the recipe by the same builder. `data` and `ranges` come from the training."""
    digest = digest_of(data)
    plain = replace(source, kind=SourceKind.TFLITE, data=source.float_data, digest=source.float_digest)
    trained = replace(plain, data=data, digest=digest, float_data=data, float_digest=digest)
    trained_ranges = calibration and replace(calibration, ranges=calibration.ranges | ranges, model=digest)
    with builders(2) as workers:
        jobs = [
            start_building(workers, trained, recipe, calibration=trained_ranges),
            start_building(workers, plain, recipe, calibration=calibration),
        ]
        built, untrained = (context.wait(job) for job in jobs)
    return built, untrained


def gain_of(context: Context, reference: LoadedModel, result: QatResult, images: Sequence[EncodedImage]) -> Gain:
    """Measure both variants of a finished training against the reference. Raises Cancelled, DatasetError."""
    files = {"with training": result.built, "without": result.untrained}
    variants = [
        follow(load_model(context.engine, ModelSource(name, built.data, sidecar=reference.settings)), reference)
        for name, built in files.items()
        if built is not None
    ]
    dataset = unannotated_images("held-out images", images)
    evaluator = Evaluator(context, [reference, *variants], dataset, PAGE_SCORE)
    after, before = (evaluator.agreement_counts(variant) for variant in variants)
    return _gain(before, after)


def _gain(before: np.ndarray, after: np.ndarray) -> Gain:
    """The gain from the (images, 2) agreement counts of the variants without and with training."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(before), (RESAMPLES, len(before)))
    values = agreement_of(before), agreement_of(after)
    draws = [_agreement(counts[drawn].sum(axis=1)) for counts in (before, after)]
    differences = draws[1] - draws[0]
    defined_differences = differences[~np.isnan(differences)]
    low, high = np.quantile(defined_differences, [0.025, 0.975]).tolist() if len(defined_differences) else (None, None)
    return Gain(*values, low, high, len(before))


def _agreement(sums: np.ndarray) -> np.ndarray:
    """(n,) agreement from (n, 2) sums of agreement counts; NaN where neither model finds an object."""
    same, both = sums.T
    return np.where(both > 0, 2 * same / np.maximum(both, 1), np.nan)
