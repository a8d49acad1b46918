"""Latency by thread count, time per operator, peak memory and size of each model.

For the latency, all models run in rounds in one worker process that is pinned to as many cores as threads (see
`measure`). There are several batches of rounds, each with new interpreters, and the batches of different thread counts
alternate. The result is the latency of the default kernels (XNNPACK) on this machine; a phone may rank the models
differently.
Times are in ms and `bytes` is the size of the file. `peak_mb`, in 10^6 bytes, is the memory of a fresh process that
runs the model alone on one thread. Keep the machine idle during the measurement; a high p95 shows that it was not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from qviz.context import Context
from qviz.engine import LocalEngine, importing
from qviz.errors import ModelError, QvizError, SettingsError
from qviz.features.cost.measure import Footprint, Laps, OperatorTime, Subject, footprint_job, latency_job, operators_job
from qviz.features.cost.npu import NpuCost, check_accelerator, npu_costs
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import lost_by_threads
from qviz.formatting import plural
from qviz.result import Result

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class KindTime:
    """The total time of all operators of one kind.

    Attributes:
        op_kind: TensorFlow Lite's name of the kind, e.g. `CONV_2D`.
        steps: Number of timed steps of this kind, see `measure.OperatorTime`.
        ms: Sum of their times in ms.
    """

    op_kind: str
    steps: int
    ms: float


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """The cost of one model at one thread count.

    Attributes:
        bytes: Size of the file.
        p50_ms, p95_ms: Median and 95th percentile of the time per image.
        cpu_ms: Mean processor time per image, all threads together.
        peak_mb: Memory that a fresh process adds, in 10^6 bytes; None if unknown.
        load_ms: Time until the interpreter is ready.
        operators: Time per operator.
        npu: Estimated cost on an Ethos-U; None unless it was requested, or if the model cannot be compiled for it.
    """

    name: str
    digest: str
    scheme: str
    bytes: int
    threads: int
    runs: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    min_ms: float
    cpu_ms: float
    load_ms: float
    peak_mb: float | None
    operators: tuple[OperatorTime, ...]
    npu: NpuCost | None = None

    @property
    def by_kind(self) -> tuple[KindTime, ...]:
        """The time by kind of operator, the slowest kind first."""
        rows: dict[str, list[float]] = {}
        for operator in self.operators:
            rows.setdefault(operator.op_kind, []).append(operator.ms)
        kinds = (KindTime(kind, len(times), sum(times)) for kind, times in rows.items())
        return tuple(sorted(kinds, key=lambda kind: -kind.ms))


@dataclass(frozen=True, slots=True, repr=False)
class Profile(Result):
    """Latency, memory and size of each model.

    Attributes:
        models: One entry per model and thread count.
        cores: CPU cores of this machine.
        pinned: Whether the process was pinned to its cores.
        skipped: One sentence per model that could not be run.
        remarks: Reasons to distrust the figures, e.g. a busy machine.
    """

    models: tuple[ModelProfile, ...]
    cores: int
    pinned: bool
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    ROWS = "models"

    def at(self, threads: int) -> tuple[ModelProfile, ...]:
        """The entries of all models at one thread count."""
        return tuple(row for row in self.models if row.threads == threads)

    def operators_frame(self) -> pd.DataFrame:
        """One row per operator of each model and thread count."""
        import pandas as pd

        names = ["model", "threads", "order", "op_kind", "tensor", "ms"]
        rows = [
            [row.name, row.threads, operator.order, operator.op_kind, operator.tensor, operator.ms]
            for row in self.models
            for operator in row.operators
        ]
        return pd.DataFrame(rows, columns=names)


BATCH = 25
"""Number of rounds in one job."""
JOB_SECONDS = 20.0
"""A job starts no further round after this time, which is far below the engine's time limit."""
MAX_SECONDS = 120.0
"""Time limit for all rounds of one thread count. Slow models therefore get fewer runs than requested."""
PASSES = 10
UNSTEADY = 1.5
"""If p95 / p50 is above this, a remark says that the machine was busy."""


def profile(
    context: Context, models: Sequence[LoadedModel], *, threads: Sequence[int] = (1,), runs: int = 50, npu: str = ""
) -> Profile:
    """Measure latency, time per operator and peak memory of every model at every thread count.

    Args:
        threads: Thread counts to measure.
        runs: Timed runs per model and thread count, after warm-up.
        npu: Name of an accelerator in `npu.ACCELERATORS`, for which the compiler Vela estimates the cost; empty for no
            estimate.

    Raises:
        InputError: Vela is not installed.
        ModelError: No model can be run. If only some fail, they are left out, each with a sentence in `skipped`.
        SettingsError: A thread count or the number of runs is out of range, or there is no such accelerator.

    Example:
        >>> qviz.profile(FLOAT32, INT8, runs=20).to_frame()[["name", "p50_ms", "bytes"]]
    """
    counts = _checked(threads, runs)
    if npu:
        check_accelerator(npu)
    skipped = [_not_run(model) for model in models if not model.layers_available]
    work = _Measurement(context, runs, total=len(models) * (1 + len(counts)) + runs * len(counts))
    footprints = dict(work.footprints([model for model in models if model.layers_available], skipped))
    subjects = [model for model in models if model.digest in footprints]
    if not subjects:
        raise ModelError(" ".join(skipped[:3]) or "No model was given; name at least one to measure.")
    laps = work.latencies([_subject(model) for model in subjects], counts)
    rows = [
        _row(model, count, laps[count], column, footprints[model.digest], work.operators(model, count))
        for column, model in enumerate(subjects)
        for count in counts
    ]
    if work.done < work.total:  # slow or broken models got fewer runs
        context.progress.advance(work.total, work.total)
    if npu:
        context.progress.step(f"Compiling for {npu}")
        costs = npu_costs(subjects, npu, work.remarks)
        rows = [replace(row, npu=costs.get(row.digest)) for row in rows]
    is_pinned = all(batch.pinned for count in counts for batch in laps[count])
    remarks = *work.remarks, *_remarks(rows, runs), *lost_by_threads(subjects, counts)
    return Profile(tuple(rows), os.cpu_count() or 1, is_pinned, tuple(skipped), remarks)


def _checked(threads: Sequence[int], runs: int) -> tuple[int, ...]:
    counts = tuple(dict.fromkeys(threads))
    if not counts or any(not 1 <= count <= 256 for count in counts):
        raise SettingsError(f"Thread counts are {list(counts)}; give numbers between 1 and 256, e.g. 1,2.")
    if not 1 <= runs <= 10_000:
        raise SettingsError(f"The number of runs is {runs}; give a number between 1 and 10000, e.g. 50.")
    return counts


def _not_run(model: LoadedModel) -> str:
    if model.is_recorded:
        return f"{model.name} holds recorded results, which take no time and no memory here."
    runtime = model.inspection.runtime or "TensorFlow itself"
    return f"{model.name} is run by {runtime}; its time and memory say nothing about TensorFlow Lite."


def _subject(model: LoadedModel) -> Subject:
    return Subject(model.blob, model.settings, model.inspection.graph.input_tensors()[0])


@dataclass(slots=True)
class _Measurement:
    """A running measurement. Only one job runs at a time, so that jobs do not disturb each other's times."""

    context: Context
    runs: int
    total: int
    done: int = 0
    remarks: list[str] = field(default_factory=list)

    def report(self, more: int) -> None:
        self.context.check_cancelled()
        self.done += more
        self.context.progress.advance(min(self.done, self.total), self.total)

    def footprints(self, models: Sequence[LoadedModel], skipped: list[str]) -> Iterator[tuple[str, Footprint]]:
        """Yield (digest, footprint) of each model, and add a sentence to `skipped` for each that cannot be run."""
        for model in models:
            try:
                with LocalEngine(1, warm_up=importing("qviz.features.cost.measure")) as fresh:
                    subject = _subject(model)
                    fresh_subject = Subject(
                        fresh.share(model.model.data, model.digest), subject.settings, subject.tensor
                    )
                    yield model.digest, fresh.submit(footprint_job, fresh_subject).result()
            except QvizError as error:
                skipped.append(f"{model.name}: {error}")
            self.report(1)

    def latencies(self, subjects: Sequence[Subject], counts: Sequence[int]) -> dict[int, list[Laps]]:
        """Thread count -> the times of its batches. The batches of different thread counts alternate.

        Raises ModelError, WorkerError.
        """
        batches: dict[int, list[Laps]] = {count: [] for count in counts}
        runs_left, spent, waiting = dict.fromkeys(counts, self.runs), dict.fromkeys(counts, 0.0), list(counts)
        while waiting:
            for count in tuple(waiting):
                begun, rounds, turn = time.monotonic(), min(BATCH, runs_left[count]), len(batches[count])
                laps = self.context.engine.submit(
                    latency_job, tuple(subjects), count, rounds, JOB_SECONDS, turn
                ).result()
                batches[count].append(laps)
                runs_left[count] -= len(laps.wall)
                spent[count] += time.monotonic() - begun
                if runs_left[count] <= 0 or spent[count] > MAX_SECONDS:
                    waiting.remove(count)
                self.report(len(laps.wall))
        return batches

    def operators(self, model: LoadedModel, threads: int) -> tuple[OperatorTime, ...]:
        """The time per operator; empty, with a remark, if the model cannot be run operator by operator."""
        times: tuple[OperatorTime, ...] = ()
        try:
            times = self.context.engine.submit(operators_job, _subject(model), threads, PASSES, JOB_SECONDS).result()
        except QvizError as error:
            self.remarks.append(f"{model.name} cannot be timed by operator: {error}")
        self.report(1)
        return times


def _row(
    model: LoadedModel,
    threads: int,
    batches: Sequence[Laps],
    column: int,
    footprint: Footprint,
    operators: tuple[OperatorTime, ...],
) -> ModelProfile:
    """One row of the result. `column` is the model's column in the batches."""
    wall = np.concatenate([laps.wall[:, column] for laps in batches])
    cpu = np.concatenate([laps.cpu[:, column] for laps in batches])
    middle, high = np.percentile(wall, [50, 95])
    return ModelProfile(
        name=model.name,
        digest=model.digest,
        scheme=str(model.scheme),
        bytes=model.bytes,
        threads=threads,
        runs=len(wall),
        mean_ms=float(wall.mean()),
        p50_ms=float(middle),
        p95_ms=float(high),
        min_ms=float(wall.min()),
        cpu_ms=float(cpu.mean()),
        load_ms=footprint.load_ms,
        peak_mb=None if footprint.peak is None else footprint.peak / 1e6,
        operators=operators,
    )


def _remarks(rows: Sequence[ModelProfile], runs: int) -> Iterator[str]:
    """Reasons to distrust the figures."""
    max_threads, cores = max(row.threads for row in rows), os.cpu_count() or 1
    if max_threads > cores:
        yield f"{max_threads} threads share {plural(cores, 'core')} of this machine."
    fewer = min(row.runs for row in rows)
    if fewer < runs:
        count = plural(fewer, "run")
        yield f"{count} of each model instead of {runs}: the time limit of {MAX_SECONDS:.0f} s was reached."
    unsteady = sorted({row.threads for row in rows if row.p95_ms > UNSTEADY * row.p50_ms})
    if unsteady:
        counts = " and ".join(plural(count, "thread") for count in unsteady)
        yield f"The machine was busy: with {counts}, p95 is far above p50. Compare CPU times, or measure again."
