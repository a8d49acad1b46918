"""Quantization-aware training without labels: FP32 teaches the network that computes as the quantized one will.

    float32 .tflite + images -> steps -> the same file with other constants -> the recipe's builder, as ever

* The .tflite file itself is trained (see `keras_graph`); a Keras file or a SavedModel is converted to one first. So
  the post-processing, labels and names stay, and the builder that PTQ uses writes the result.
* Weights are rounded in training exactly as the builder rounds them; ranges of activations start from calibration, are
  trained along and handed to the builder.
* It runs in a worker process, a few seconds a job: its losses can be watched, it can be stopped, and a killed one goes
  on from its checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import TypeVar

from qviz.engine import LocalEngine, importing
from qviz.errors import Cancelled
from qviz.features.building.build import Built, Source, builders, start_building
from qviz.features.building.ranges import Calibration
from qviz.features.training import trainer
from qviz.features.training.batches import packed
from qviz.features.training.plan import Plan
from qviz.features.training.trainer import Job, finish_job, train_job
from qviz.limits import limits
from qviz.structures import EncodedImage, digest_of
from qviz.tensorflow_models import SourceKind

T = TypeVar("T")

BREATH = 2.0
"""Seconds of training between two looks at it; the first look comes after one step."""
Watch = Callable[[tuple[float, ...]], None]
"""Called with the loss of every step so far, from the thread that waits."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """trained, untrained: the recipe with and without training; float_data: the trained network, still float32.

    losses: one a step; resumed_at: steps that a checkpoint already had; seconds: of this run.
    """

    trained: Built
    untrained: Built
    float_data: bytes = field(repr=False)
    losses: tuple[float, ...]
    resumed_at: int
    seconds: float


def train(
    source: Source,
    images: Sequence[EncodedImage],
    plan: Plan,
    calibration: Calibration | None,
    checkpoint: Path,
    watch: Watch = lambda losses: None,
    stop: Event | None = None,
    cancel: Event | None = None,
) -> Trained:
    """Train and build. Raises Cancelled, QuantizeError, WorkerError.

    images: to train on. calibration: of `source`, where the recipe quantizes activations. checkpoint: kept up to date,
    gone on from where it belongs to the same training, and left for the caller to forget. stop: what is trained by
    then is built; cancel: nothing is, but the checkpoint stays.
    """
    start = time.perf_counter()
    digest = plan.digest(source.float_digest, source.settings, [image.digest for image in images], calibration)
    before = trainer.load(checkpoint, digest)
    losses = before.losses if before is not None else ()
    resumed_at, before = len(losses), None  # its arrays are the worker's business
    with trainers() as engine:
        model = engine.share(source.float_data, source.float_digest)
        archive = packed(sorted(images, key=lambda image: image.digest))  # the order must not depend on the disk
        pictures = engine.share(archive, digest_of(archive))
        job = Job(model, pictures, source.settings, plan, calibration, digest, checkpoint.resolve())
        while len(losses) < plan.steps and not (stop is not None and stop.is_set()):
            losses = _result(engine.submit(train_job, job, BREATH if len(losses) > resumed_at else 0.0), cancel)
            watch(losses)
        float_data, ranges = _result(engine.submit(finish_job, job), cancel)
    trained, untrained = _built(source, plan.recipe, calibration, float_data, ranges)
    return Trained(trained, untrained, float_data, losses, resumed_at, time.perf_counter() - start)


def trainers() -> LocalEngine:
    """One worker, with time and memory for training."""
    said = limits()
    return LocalEngine(1, said.build_seconds, said.training_memory_mb << 20, importing("qviz.features.building"))


def _built(
    source: Source, recipe: str, calibration: Calibration | None, data: bytes, ranges: dict[str, tuple[float, float]]
) -> tuple[Built, Built]:
    """The recipe with and without training, by the same builder."""
    digest = digest_of(data)
    plain = replace(source, kind=SourceKind.TFLITE, data=source.float_data, digest=source.float_digest)
    moved = replace(plain, data=data, digest=digest, float_data=data, float_digest=digest)
    new = calibration and replace(calibration, ranges=calibration.ranges | ranges, model=digest)
    with builders(2) as engine:
        jobs = [start_building(engine, moved, recipe, calibration=new)]
        jobs += [start_building(engine, plain, recipe, calibration=calibration)]
        trained, untrained = (job.result() for job in jobs)
    return trained, untrained


def _result(job: Future[T], cancel: Event | None) -> T:
    """Raises Cancelled; the engine's end then stops the worker."""
    while True:
        if cancel is not None and cancel.is_set():
            raise Cancelled("The training was stopped. Its checkpoint stays: the same training goes on from there.")
        try:
            return job.result(timeout=0.2)
        except NotYet:
            if job.done():
                return job.result()
