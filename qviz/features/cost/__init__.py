"""What a model costs: size, latency by thread count, time by operator, peak memory.

Latency: all models run in one worker process, pinned to as many cores as threads, in rounds (see `profile_jobs`); the
rounds come in several batches with new interpreters, and the batches of the thread counts take turns. It is the
latency of the default kernels (XNNPACK) on the machine of the worker: its ranking need not be a phone's.
Bytes are the file's; peak_mb is in 10^6 bytes, of a fresh process here that runs the model alone on one thread; times
in ms. Nothing else should run meanwhile: p95 shows when something did.

What `profile` found, as figures: ms, bytes of the file, peak_mb in 10^6 bytes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.engine import Engine, LocalEngine, importing
from qviz.errors import ModelError, QvizError, SettingsError
from qviz.features.cost.measure import Footprint, Laps, OperatorTime, Subject, footprint_job, latency_job, operators_job
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import lost_by_threads
from qviz.progress import OnProgress, silent

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class KindTime:
    """All operators of one kind: `steps` of them take `ms`."""

    op_kind: str
    steps: int
    ms: float


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model at one thread count. cpu_ms: mean processor time of all threads. peak_mb: None where unknown."""

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

    @property
    def by_kind(self) -> tuple[KindTime, ...]:
        """The slowest kind first."""
        rows: dict[str, list[float]] = {}
        for operator in self.operators:
            rows.setdefault(operator.op_kind, []).append(operator.ms)
        kinds = (KindTime(kind, len(times), sum(times)) for kind, times in rows.items())
        return tuple(sorted(kinds, key=lambda kind: -kind.ms))


@dataclass(frozen=True, slots=True)
class Profile:
    """A row a model and thread count. pinned: to cores. skipped, remarks: sentences, of a model or of the machine."""

    models: tuple[ModelProfile, ...]
    cores: int
    pinned: bool
    skipped: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def at(self, threads: int) -> tuple[ModelProfile, ...]:
        """The models at one thread count."""
        return tuple(row for row in self.models if row.threads == threads)

    def to_json(self) -> dict[str, Any]:
        """As `qviz profile --json` prints it."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """A row a model and thread count, without its operators."""
        import pandas as pd

        names = [name for name in ModelProfile.__slots__ if name != "operators"]
        return pd.DataFrame([[getattr(row, name) for name in names] for row in self.models], columns=names)

    def operators_frame(self) -> pd.DataFrame:
        """A row an operator of each model and thread count."""
        import pandas as pd

        names = ["model", "threads", "order", "op_kind", "tensor", "ms"]
        rows = [
            [row.name, row.threads, operator.order, operator.op_kind, operator.tensor, operator.ms]
            for row in self.models
            for operator in row.operators
        ]
        return pd.DataFrame(rows, columns=names)


BATCH = 25
"""Rounds of one job."""
JOB_SECONDS = 20.0
"""A job ends its rounds then, well within the engine's limit."""
PATIENCE = 120.0
"""Seconds of rounds a thread count; a slow model gets fewer runs, which `runs` tells."""
PASSES = 10
UNSTEADY = 1.5
"""p95 over p50 from which the machine was not quiet."""


def profile(
    engine: Engine,
    models: Sequence[LoadedModel],
    threads: Sequence[int] = (1,),
    runs: int = 50,
    on_progress: OnProgress = silent,
) -> Profile:
    """Every model at every thread count. A model that fails is left out with its sentence.

    Raises ModelError where none is left, SettingsError, WorkerError.
    """
    counts = _checked(threads, runs)
    skipped = [_not_here(model) for model in models if not model.layers_available]
    work = _Work(engine, runs, on_progress, total=len(models) * (1 + len(counts)) + runs * len(counts))
    alone = dict(work.footprints([model for model in models if model.layers_available], skipped))
    subjects = [model for model in models if model.digest in alone]
    if not subjects:
        raise ModelError(" ".join(skipped[:3]) or "No model was given; a cost is measured on one or more.")
    laps = work.latencies([_subject(model) for model in subjects], counts)
    rows = [
        _row(model, count, laps[count], place, alone[model.digest], work.operators(model, count))
        for place, model in enumerate(subjects)
        for count in counts
    ]
    if work.done < work.total:  # slow or broken models had fewer runs
        on_progress(work.total, work.total)
    is_pinned = all(batch.pinned for count in counts for batch in laps[count])
    remarks = *work.remarks, *_remarks(rows, runs), *lost_by_threads(subjects, counts)
    return Profile(tuple(rows), os.cpu_count() or 1, is_pinned, tuple(skipped), remarks)


def _checked(threads: Sequence[int], runs: int) -> tuple[int, ...]:
    counts = tuple(dict.fromkeys(threads))
    if not counts or any(not 1 <= count <= 256 for count in counts):
        raise SettingsError(f"Thread counts are {list(counts)}; give numbers between 1 and 256, e.g. 1,2.")
    if not 1 <= runs <= 10_000:
        raise SettingsError(f"{runs} runs are asked for; give a number between 1 and 10000, e.g. 50.")
    return counts


def _not_here(model: LoadedModel) -> str:
    return f"{model.name} is run by TensorFlow itself, whose time and memory say nothing of TensorFlow Lite's."


def _subject(model: LoadedModel) -> Subject:
    return Subject(model.blob, model.settings, model.inspection.graph.input_tensors()[0])


@dataclass(slots=True)
class _Work:
    """One measurement under way: jobs go to the engine one after the other, so that none disturbs another."""

    engine: Engine
    runs: int
    on_progress: OnProgress
    total: int
    done: int = 0
    remarks: list[str] = field(default_factory=list)

    def report(self, more: int) -> None:
        self.done += more
        self.on_progress(min(self.done, self.total), self.total)

    def footprints(self, models: Sequence[LoadedModel], skipped: list[str]) -> Iterator[tuple[str, Footprint]]:
        """By digest; a sentence in `skipped` for each model that cannot be run."""
        for model in models:
            try:
                with LocalEngine(1, warm_up=importing("qviz.features.cost.measure")) as fresh:
                    subject = _subject(model)
                    own = Subject(fresh.share(model.model.data, model.digest), subject.settings, subject.tensor)
                    yield model.digest, fresh.submit(footprint_job, own).result()
            except QvizError as error:
                skipped.append(f"{model.name}: {error}")
            self.report(1)

    def latencies(self, subjects: Sequence[Subject], counts: Sequence[int]) -> dict[int, list[Laps]]:
        """Batches by thread count, taking turns. Raises ModelError, WorkerError."""
        batches: dict[int, list[Laps]] = {count: [] for count in counts}
        left, spent, waiting = dict.fromkeys(counts, self.runs), dict.fromkeys(counts, 0.0), list(counts)
        while waiting:
            for count in tuple(waiting):
                begun, rounds, turn = time.monotonic(), min(BATCH, left[count]), len(batches[count])
                laps = self.engine.submit(latency_job, tuple(subjects), count, rounds, JOB_SECONDS, turn).result()
                batches[count].append(laps)
                left[count] -= len(laps.wall)
                spent[count] += time.monotonic() - begun
                if left[count] <= 0 or spent[count] > PATIENCE:
                    waiting.remove(count)
                self.report(len(laps.wall))
        return batches

    def operators(self, model: LoadedModel, threads: int) -> tuple[OperatorTime, ...]:
        """None, and a remark, for a model that cannot be cut into them: it takes more memory than the whole."""
        found: tuple[OperatorTime, ...] = ()
        try:
            found = self.engine.submit(operators_job, _subject(model), threads, PASSES, JOB_SECONDS).result()
        except QvizError as error:
            self.remarks.append(f"{model.name} cannot be timed by operator: {error}")
        self.report(1)
        return found


def _row(
    model: LoadedModel,
    threads: int,
    batches: Sequence[Laps],
    place: int,
    alone: Footprint,
    operators: tuple[OperatorTime, ...],
) -> ModelProfile:
    """place: the model's column in the batches."""
    wall = np.concatenate([laps.wall[:, place] for laps in batches])
    cpu = np.concatenate([laps.cpu[:, place] for laps in batches])
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
        load_ms=alone.load_ms,
        peak_mb=None if alone.peak is None else alone.peak / 1e6,
        operators=operators,
    )


def _remarks(rows: Sequence[ModelProfile], runs: int) -> Iterator[str]:
    """What makes the figures less than they seem."""
    most, cores = max(row.threads for row in rows), os.cpu_count() or 1
    if most > cores:
        yield f"{most} threads share the {cores} cores of this machine."
    fewer = min(row.runs for row in rows)
    if fewer < runs:
        yield f"{fewer} runs of each model instead of {runs}: the models are slow, and {PATIENCE:.0f} s were up."
    unsteady = sorted({row.threads for row in rows if row.p95_ms > UNSTEADY * row.p50_ms})
    if unsteady:
        counts = " and ".join(f"{count} thread{'s' * (count > 1)}" for count in unsteady)
        yield f"The machine was not quiet: with {counts} p95 lies far above p50. Compare CPU times, or measure again."
