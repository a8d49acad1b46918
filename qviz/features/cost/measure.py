"""Jobs in which workers measure the cost of a model: time of whole runs, time by operator, and growth of memory.

Times are wall-clock times in ms; `cpu` is the processor time of the whole process, summed over all threads. A run is
the interpreter's `invoke` on one input, without copying the input and outputs. The input is a fixed, seeded image of
soft blobs, preprocessed as the model expects. The values matter little to most kernels, but NMS inside a file takes
longer with more candidates.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.engine import Blob, forget_peak, peak_memory
from qviz.structures import Graph, Image, Settings, Tensor
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Step, Stepper

SEED = 20
WARM_UP = 5
"""Number of untimed runs of each model before the timed ones, so that caches, thread pools and the clock frequency
settle."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model in the form in which the jobs receive it."""

    blob: Blob
    settings: Settings
    tensor: Tensor

    def values(self) -> np.ndarray:
        """The input tensor."""
        pixels = np.random.default_rng(SEED).integers(0, 256, (24, 24, 3), np.uint8)  # `fill` enlarges it smoothly
        return fill(Image("blobs", pixels, "blobs"), input_spec(self.settings), self.tensor)[0]


@dataclass(frozen=True, slots=True, eq=False)
class Laps:
    """Times of several rounds.

    Attributes:
        wall, cpu: (rounds, models) wall-clock time and processor time in ms.
        pinned: Whether the process was pinned to its cores.
    """

    wall: np.ndarray
    cpu: np.ndarray
    pinned: bool


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory and load time of one model alone in a fresh process.

    Attributes:
        peak: Peak number of bytes added by loading and running the model, including the file; None if the system does
            not report it.
        load_ms: Time until the interpreter is ready.
    """

    peak: int | None
    load_ms: float


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """The time of one step of the stepper: an operator, or several operators that can only run together.

    Attributes:
        order: Index of the first operator.
        ms: Median time over the passes, including the transfer of the tensors.
        orders: Indices of all operators of the step.
    """

    order: int
    op_kind: str
    tensor: str
    ms: float
    orders: tuple[int, ...]


def footprint_job(subject: Subject) -> Footprint:
    """Memory and load time of a model; runs in a fresh worker that does nothing else."""
    values = subject.values()
    forget_peak()
    before, begun = peak_memory(), time.perf_counter()
    runner = Runner(subject.blob.read(), keep_all=False)
    load_ms = (time.perf_counter() - begun) * 1e3
    for _ in range(2):
        runner.run([values])
    after = peak_memory()
    return Footprint(None if before is None or after is None else max(0, after - before), load_ms)


def latency_job(subjects: Sequence[Subject], threads: int, rounds: int, seconds: float, seed: int) -> Laps:
    """Measure rounds in which every model runs once; runs in a worker.

    The order within a round is random, so that drift affects all models equally. The job ends with the first round that
    finishes after `seconds`; there is at least one round.
    """
    end = time.monotonic() + seconds
    with pinned(threads) as is_pinned:
        runners = [Runner(subject.blob.read(), threads, keep_all=False) for subject in subjects]
        inputs = [subject.values() for subject in subjects]
        _warm_up(runners, inputs, time.monotonic() + seconds / 4)
        draw = np.random.default_rng([SEED, seed])
        wall: list[np.ndarray] = []
        cpu: list[np.ndarray] = []
        while len(wall) < rounds and (not wall or time.monotonic() < end):
            row = np.empty((2, len(runners)))
            for column in draw.permutation(len(runners)):
                row[:, column] = _lap(runners[column], inputs[column])
            wall.append(row[0])
            cpu.append(row[1])
    return Laps(np.array(wall), np.array(cpu), is_pinned)


def _warm_up(runners: Sequence[Runner], inputs: Sequence[np.ndarray], end: float) -> None:
    for done in range(WARM_UP):
        if done and time.monotonic() > end:
            return
        for runner, values in zip(runners, inputs, strict=True):
            runner.run([values])


def _lap(runner: Runner, values: np.ndarray) -> tuple[float, float]:
    begun = time.process_time()
    runner.run([values])
    return runner.milliseconds, (time.process_time() - begun) * 1e3


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[bool]:
    """Pin this process to `threads` cores inside the `with` block, and yield whether the system supports that.

    Threads that are started inside the block are pinned to the same cores.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(cores)[-threads:])  # not the first core, which handles interrupts
        yield True
    finally:
        os.sched_setaffinity(0, cores)


def operators_job(subject: Subject, threads: int, passes: int, seconds: float) -> tuple[OperatorTime, ...]:
    """The median time of every step over up to `passes` passes; runs in a worker.

    The first pass does not count. No further pass starts after `seconds`.
    """
    end = time.monotonic() + seconds
    with pinned(threads):
        stepper = Stepper(subject.blob.read(), threads)
        values = subject.values()
        inputs = {tensor for step in stepper.steps for tensor in step.inputs}
        tensors = stepper.run([values], keep=inputs) | {stepper.graph.inputs[0]: values}
        rows: list[list[float]] = []
        while len(rows) < passes and (not rows or time.monotonic() < end):
            rows.append([_step_ms(stepper, number, tensors) for number in range(len(stepper.steps))])
    medians = np.median(np.array(rows), axis=0)
    return tuple(_operator(stepper.graph, step, float(ms)) for step, ms in zip(stepper.steps, medians, strict=True))


def _step_ms(stepper: Stepper, number: int, tensors: dict[int, np.ndarray]) -> float:
    begun = time.perf_counter()
    stepper.run_step(number, tensors)
    return (time.perf_counter() - begun) * 1e3


def _operator(graph: Graph, step: Step, ms: float) -> OperatorTime:
    kinds = " + ".join(dict.fromkeys(graph.ops[order].kind for order in step.orders))
    tensor = graph.tensors[step.outputs[0]].name if step.outputs else ""
    return OperatorTime(step.orders[0], kinds, tensor, ms, step.orders)
