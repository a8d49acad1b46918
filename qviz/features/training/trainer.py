"""The worker's side of training: teacher, student and optimizer in one process, and the jobs that run some steps.

The worker keeps teacher, student and optimizer in memory between jobs. A new worker continues from the checkpoint, so
that a crash only loses the steps since the last checkpoint. The same plan gives the same steps, whether the training is
interrupted or not.

A checkpoint is an .npz file of plain arrays (never unpickled) with every variable of the student and its optimizer, and
the loss of every step. It is written to a temporary file that is then renamed, so that a crash leaves the previous
checkpoint intact. It contains the digest of its training, so that no other training continues from it.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qviz.engine import Blob
from qviz.errors import QuantizeError
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import RECIPES
from qviz.features.building.source import with_unique_tensor_names
from qviz.features.training.batches import Batches, augmented
from qviz.features.training.fake_quant import FakeQuantized
from qviz.features.training.keras_graph import functional, needed, outputs
from qviz.features.training.loss import columns_of, head_loss, tap_loss
from qviz.features.training.plan import WARM_UP, Plan, objectness_column, trained_ends
from qviz.structures import Graph, Settings
from qviz.tensorflow_models.runtime import tensorflow
from qviz.tflite.constants import own_constants, with_constants
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint: the loss of each step so far, and all variables in the order of `Trainer`."""

    losses: tuple[float, ...]
    variables: tuple[np.ndarray, ...]


def save(path: Path, training: str, losses: Sequence[float], variables: Sequence[np.ndarray]) -> None:
    """Write a checkpoint. `training` is the plan's digest. Raises QuantizeError if the file cannot be written."""
    part = _part(path)
    arrays: dict[str, Any] = {f"variable_{number}": values for number, values in enumerate(variables)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, training=np.array(training), losses=np.array(losses, np.float64), **arrays)
        part.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error


def load(path: Path, training: str) -> Checkpoint | None:
    """Read a checkpoint, or return None if there is none.

    Raises QuantizeError if it is damaged or belongs to another training.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            digest, losses = str(arrays["training"]), tuple(float(loss) for loss in arrays["losses"])
            count = sum(name.startswith("variable_") for name in arrays.files)
            variables = tuple(arrays[f"variable_{number}"] for number in range(count)) if digest == training else ()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise QuantizeError(f"The checkpoint {path} is damaged ({error}); remove it to start again.") from error
    if digest != training:
        raise QuantizeError(
            f"The checkpoint {path} belongs to another training (other model, images, recipe or steps). Start that"
            " one again to finish it, remove the file, or write the result elsewhere."
        )
    return Checkpoint(losses, variables)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Copy a checkpoint, if there is one and it is newer than `target`. Raises QuantizeError if that is impossible.

    A worker writes into a folder of its own, so that it needs no rights in that of the user.
    """
    part = _part(target)
    try:
        if source.exists() and not (target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, part, follow_symlinks=False)
            part.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(path: Path, error: OSError) -> QuantizeError:
    return QuantizeError(f"The checkpoint {path} cannot be written ({error.strerror}); free some space.")


def remove_checkpoint(path: Path) -> None:
    """Delete a checkpoint, once the result is safe."""
    for file in (path, _part(path)):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """The path of the temporary file to which a checkpoint is written."""
    return path.with_name(f"{path.name}.part")


SAVING_SHARE = 0.05
"""Maximum share of the time that is spent on writing checkpoints."""
SAMPLE_IMAGES = 16
"""Number of images on which the teacher's outputs are examined to find the score columns."""
TOLERANCE = 1e-3
"""Largest error of the rebuilt network, in units of the output's largest value."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training in the form in which it is sent to a worker.

    Attributes:
        model: The float32 .tflite file.
        images: Zip archive of the images, see `batches.packed`.
        digest: Digest of everything that determines the result, see `Plan.digest`.
        checkpoint: Path of the checkpoint.
    """

    model: Blob
    images: Blob
    settings: Settings
    plan: Plan
    calibration: Calibration | None
    digest: str
    checkpoint: Path


def train_job(job: Job, seconds: float) -> tuple[float, ...]:
    """Run at least one step, and further steps until `seconds` are over. Returns the loss of every step so far.

    Raises QuantizeError.
    """
    trainer = _trainer(job)
    end = time.monotonic() + seconds
    while len(trainer.losses) < job.plan.steps:
        trainer.step()
        if time.monotonic() >= end:
            break
    trainer.save(job, always=len(trainer.losses) >= job.plan.steps)
    return tuple(trainer.losses)


def finish_job(job: Job) -> tuple[bytes, dict[str, tuple[float, float]]]:
    """(float32 .tflite file with the trained constants, tensor name -> trained range)."""
    trainer = _trainer(job)
    trainer.save(job, always=True)
    parts = trainer.parts
    return with_constants(job.model.read(), parts.constants()), parts.moved_ranges()


_warm: dict[str, Trainer] = {}
"""The current training of this worker, by its digest."""


def _trainer(job: Job) -> Trainer:
    """The trainer of this job in this worker. If there is none yet, a new one continues from the checkpoint."""
    if job.digest in _warm:
        return _warm[job.digest]
    _warm.clear()
    saved = load(job.checkpoint, job.digest)  # to report errors before TensorFlow is loaded
    with tensorflow(os.cpu_count() or 1) as tf:
        trainer = Trainer(tf, job)
        if saved is not None:
            trainer.restore(saved)
        return _warm.setdefault(job.digest, trainer)


class Trainer:
    """Trains one network. `losses` has the loss of each step so far; `parts` has the trained constants and ranges."""

    def __init__(self, tf: Any, job: Job) -> None:
        import tf_keras

        self._tf, self._plan = tf, job.plan
        data = job.model.read()
        graph = with_unique_tensor_names(read_graph(data))
        self._image = graph.input_tensors()[0]
        self._batches = Batches(job.images.read(), job.settings, self._image, job.plan.batch, job.plan.seed)
        ends = trained_ends(graph)
        taps = [op.outputs[0] for op in needed(graph, ends) if op.kind == "CONV_2D" and op.outputs[0] not in ends]
        self._heads = len(ends)
        self.parts = FakeQuantized(tf, graph, RECIPES[job.plan.recipe], job.calibration, own_constants(data, graph))
        self._teacher = functional(tf, data, graph, [*ends, *taps])
        self._student = functional(tf, data, graph, [*ends, *taps], self.parts)
        images = self._batches.first(SAMPLE_IMAGES)
        head = [values.numpy() for values in outputs(self._teacher, images)][: self._heads]
        _verify(data, graph, ends, images[:1], [values[:1] for values in head])
        self._columns = [columns_of(values, objectness_column(graph)) for values in head]
        self._optimizer = tf_keras.optimizers.Adam(job.plan.rate, jit_compile=False)
        self._optimizer.build(self.parts.variables)
        self._compiled = tf.function(self._step, autograph=False)
        self._next_save = 0.0
        self.losses: list[float] = []

    def step(self) -> None:
        """Run the next step. Raises QuantizeError if the loss is not a finite number."""
        tf, number = self._tf, len(self.losses)
        seed = tf.constant([self._plan.seed, number], tf.int32)
        loss = float(self._compiled(tf.constant(self._batches(number)), seed, tf.constant(self._rate(number))))
        if not math.isfinite(loss):
            raise QuantizeError(f"Training failed: the loss of step {number} is not a number. Use other images.")
        self.losses.append(loss)

    def _rate(self, number: int) -> np.float32:
        decay = 0.5 + 0.5 * math.cos(math.pi * number / self._plan.steps)
        return np.float32(self._plan.rate * min(1.0, (number + 1) / WARM_UP) * decay)

    def _step(self, images: Any, seed: Any, rate: Any) -> Any:
        tf, heads = self._tf, self._heads
        images = augmented(tf, images, seed, self._image)
        teacher = outputs(self._teacher, images)
        variables = self.parts.variables
        with tf.GradientTape() as tape:
            student = outputs(self._student, images)
            loss = head_loss(tf, self._columns, teacher[:heads], student[:heads])
            loss += tap_loss(tf, teacher[heads:], student[heads:])
        self._optimizer.learning_rate.assign(rate)
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def _state(self) -> list[Any]:
        return [*self.parts.variables, *self._optimizer.variables]

    def save(self, job: Job, always: bool) -> None:
        """Write the checkpoint if enough time has passed since the last one, or if `always`."""
        start = time.monotonic()
        if always or start >= self._next_save:
            values = [variable.numpy() for variable in self._state()]
            save(job.checkpoint, job.digest, self.losses, values)
            self._next_save = time.monotonic() + (time.monotonic() - start) / SAVING_SHARE

    def restore(self, saved: Checkpoint) -> None:
        """Continue from a checkpoint. Raises QuantizeError if it belongs to another network."""
        state = self._state()
        if [tuple(values.shape) for values in saved.variables] != [tuple(variable.shape) for variable in state]:
            raise QuantizeError("The checkpoint does not fit this network; remove it to start again.")
        for variable, values in zip(state, saved.variables, strict=True):
            variable.assign(values)
        self.losses = list(saved.losses)


def _verify(data: bytes, graph: Graph, ends: tuple[int, ...], image: np.ndarray, rebuilt: list[np.ndarray]) -> None:
    """Raise QuantizeError if the rebuilt float network computes other values than the file."""
    runner = Runner(data)
    runner.run([image])
    for index, values in zip(ends, rebuilt, strict=True):
        expected = runner.tensor(index)
        error, size = float(np.abs(expected - values).max()), float(np.abs(expected).max())
        if not error <= TOLERANCE * max(size, 1.0):
            raise QuantizeError(
                f"The network rebuilt for training does not compute what the file does: {graph.tensors[index].name!r}"
                f" differs by {error:.3g} where values reach {size:.3g}. It cannot be trained; please report it."
            )
