"""What workers measure of a model's cost: time of whole runs, time by operator, growth of memory.

Times in ms of wall clock (`cpu`: processor time of the whole process, all threads together). A run is the
interpreter's `invoke` on one input; the copies in and out are not part of it. The input is a fixed, seeded picture of
soft blobs, prepared as the model wants its images: real kernels seldom depend on the values, but NMS inside a file
does (more candidates take longer).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qviz.engine import Blob
from qviz.structures import Graph, Image, Settings, Tensor
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Step, Stepper

SEED = 20
WARM_UP = 5
"""Runs of each model before the first that counts: caches, thread pools and the clock frequency settle."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model as the jobs take it."""

    blob: Blob
    settings: Settings
    tensor: Tensor

    def values(self) -> np.ndarray:
        """The input tensor."""
        pixels = np.random.default_rng(SEED).integers(0, 256, (24, 24, 3), np.uint8)  # widened softly by `fill`
        return fill(Image("blobs", pixels, "blobs"), input_spec(self.settings), self.tensor)[0]


@dataclass(frozen=True, slots=True, eq=False)
class Laps:
    """wall, cpu (rounds, models) in ms."""

    wall: np.ndarray
    cpu: np.ndarray
    pinned: bool


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of a model alone in a fresh process: peak bytes that loading and running it added, the file's own included (None
    where the system does not tell); load_ms until the interpreter is ready."""

    peak: int | None
    load_ms: float


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One step of the stepper: `orders` are more than one where operators only work together, `order` is the first.

    ms: median over the passes, the hand-over of its tensors included.
    """

    order: int
    op_kind: str
    tensor: str
    ms: float
    orders: tuple[int, ...]


def footprint_job(subject: Subject) -> Footprint:
    """In a fresh worker that does nothing else."""
    values = subject.values()
    _forget_peak()
    before, begun = _peak(), time.perf_counter()
    runner = Runner(subject.blob.read(), keep_all=False)
    load_ms = (time.perf_counter() - begun) * 1e3
    for _ in range(2):
        runner.run([values])
    after = _peak()
    return Footprint(None if before is None or after is None else max(0, after - before), load_ms)


def _forget_peak() -> None:
    """Linux then counts the peak from here; elsewhere what was taken before hides as much of the growth."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int | None:
    """Peak resident bytes of this process. Not `ru_maxrss` on Linux: it survives exec, so it is the parent's too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def latency_job(subjects: Sequence[Subject], threads: int, rounds: int, seconds: float, seed: int) -> Laps:
    """Rounds in which every model runs once, in an order drawn anew each time: drift and neighbours hit all alike.

    Ends after `seconds` with the rounds that are whole by then, at least one.
    """
    end = time.monotonic() + seconds
    with pinned(threads) as held:
        runners = [Runner(subject.blob.read(), threads, keep_all=False) for subject in subjects]
        inputs = [subject.values() for subject in subjects]
        _warm_up(runners, inputs, time.monotonic() + seconds / 4)
        draw = np.random.default_rng([SEED, seed])
        wall: list[np.ndarray] = []
        cpu: list[np.ndarray] = []
        while len(wall) < rounds and (not wall or time.monotonic() < end):
            row = np.empty((2, len(runners)))
            for place in draw.permutation(len(runners)):
                row[:, place] = _lap(runners[place], inputs[place])
            wall.append(row[0])
            cpu.append(row[1])
    return Laps(np.array(wall), np.array(cpu), held)


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
    """On as many cores as threads, and back; whether the system can do that. Threads started inside inherit it."""
    if not hasattr(os, "sched_setaffinity"):
        yield False
        return
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(cores)[-threads:])  # the first core has the interrupts
        yield True
    finally:
        os.sched_setaffinity(0, cores)


def operators_job(subject: Subject, threads: int, passes: int, seconds: float) -> tuple[OperatorTime, ...]:
    """Every step timed `passes` times, or until `seconds` are over; the first pass does not count."""
    end = time.monotonic() + seconds
    with pinned(threads):
        stepper = Stepper(subject.blob.read(), threads)
        values = subject.values()
        wanted = {tensor for step in stepper.steps for tensor in step.inputs}
        held = stepper.run([values], keep=wanted) | {stepper.graph.inputs[0]: values}
        rows: list[list[float]] = []
        while len(rows) < passes and (not rows or time.monotonic() < end):
            rows.append([_step_ms(stepper, number, held) for number in range(len(stepper.steps))])
    medians = np.median(np.array(rows), axis=0)
    return tuple(_operator(stepper.graph, step, float(ms)) for step, ms in zip(stepper.steps, medians, strict=True))


def _step_ms(stepper: Stepper, number: int, held: dict[int, np.ndarray]) -> float:
    begun = time.perf_counter()
    stepper.run_step(number, held)
    return (time.perf_counter() - begun) * 1e3


def _operator(graph: Graph, step: Step, ms: float) -> OperatorTime:
    kinds = " + ".join(dict.fromkeys(graph.ops[order].kind for order in step.orders))
    tensor = graph.tensors[step.outputs[0]].name if step.outputs else ""
    return OperatorTime(step.orders[0], kinds, tensor, ms, step.orders)
