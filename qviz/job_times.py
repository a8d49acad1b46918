"""Records how long the steps of computations took on this machine, to predict how long the next one will take.

A step is identified by its text up to the first number or colon, so `Candidate 3: measuring int8` and `Candidate 4: …`
are the same step. The time of a step that counts items is scaled with the amount of work. Other steps are expected to
take as long as in the earlier run.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.formatting import duration

MAX_KINDS, MAX_STEPS, RUNS = 200, 40, 3
"""Maximum numbers of remembered kinds of computation, of steps per run, and of runs per kind (the slowest counts)."""
MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time that one step took. name: see `step_name`; counted: whether the step counts items."""

    name: str
    seconds: float
    counted: bool = False


@dataclass(frozen=True, slots=True)
class RunTime:
    """The times of one finished run. work: number of items of the whole computation, e.g. images times models."""

    work: float
    steps: tuple[StepTime, ...]

    @property
    def seconds(self) -> float:
        """Total time of all steps."""
        return sum(step.seconds for step in self.steps)

    def scaled(self, work: float) -> RunTime:
        """The expected times of the same computation for another amount of work."""
        factor = work / self.work if self.work > 0 and work > 0 else 1.0
        steps = (StepTime(s.name, s.seconds * (factor if s.counted else 1.0), s.counted) for s in self.steps)
        return RunTime(work, tuple(steps))


def step_name(text: str) -> str:
    """The name of a step: its text up to the first digit, colon or bracket. The rest may differ between runs."""
    return re.split(r"[0-9:(]", text, maxsplit=1)[0].strip()


class JobTimes:
    """Times of finished runs by kind and model, kept in a JSON file. Thread-safe; an unusable file is ignored.

    Example:
        >>> times = JobTimes(None)
        >>> times.add("build", "ssd", RunTime(50, (StepTime("Measuring ranges", 10.0, counted=True),)))
        >>> run, same_subject = times.expected("build", "yolo", 100)
        >>> run.seconds, same_subject
        (20.0, False)
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._runs: dict[str, list[RunTime]] = {} if path is None else _read(path)

    def add(self, kind: str, subject: str, run: RunTime) -> None:
        """Record a finished run. subject: what was computed on, e.g. the digest of a model."""
        with self._lock:
            for key in dict.fromkeys((kind, _key(kind, subject))):
                self._runs[key] = [*self._runs.pop(key, []), run][-RUNS:]
            while len(self._runs) > MAX_KINDS:
                self._runs.pop(next(iter(self._runs)))
            if self._path is not None:
                _write(self._path, self._runs)

    def expected(self, kind: str, subject: str, work: float) -> tuple[RunTime | None, bool]:
        """(expected times of a run with this amount of work, whether they come from runs of the same subject).

        If there is no earlier run, (None, False). The slowest of the last runs is used, because a run that found its
        detections in the store does not predict a run that has to compute them.
        """
        with self._lock:
            key = _key(kind, subject)
            same = key in self._runs
            runs = [run.scaled(work) for run in self._runs.get(key if same else kind, ())]
        return max(runs, key=lambda run: run.seconds, default=None), same and bool(runs)


def _key(kind: str, subject: str) -> str:
    return f"{kind} {subject}" if subject else kind


def _read(path: Path) -> dict[str, list[RunTime]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        document = json.loads(path.read_bytes())
        return {str(kind): [_run(row) for row in rows][-RUNS:] for kind, rows in list(document.items())[:MAX_KINDS]}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _run(row: Mapping[str, Any]) -> RunTime:
    steps = [StepTime(str(name), float(seconds), bool(counted)) for name, seconds, counted in row["steps"][:MAX_STEPS]]
    if not all(math.isfinite(step.seconds) and step.seconds >= 0 for step in steps):
        raise ValueError("a time is not a number of seconds")
    return RunTime(float(row["work"]), tuple(steps))


def _run_json(run: RunTime) -> dict[str, Any]:
    return {"work": run.work, "steps": [[step.name, round(step.seconds, 2), step.counted] for step in run.steps]}


def _write(path: Path, runs: Mapping[str, Sequence[RunTime]]) -> None:
    document = {kind: [_run_json(row) for row in rows] for kind, rows in runs.items()}
    beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(path)


class Stopwatch:
    """Measures the steps of one run, and estimates how long the rest will take.

    Args:
        expected: Expected times of the run's steps, or None if there is no earlier run.
    """

    def __init__(self, expected: RunTime | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = {step.name: step.seconds for step in expected.steps} if expected is not None else {}
        self._clock = clock
        self._spent: dict[str, StepTime] = {}
        self._name = ""
        self._began = self._start = clock()
        self._shown: tuple[float, float] | None = None

    @property
    def has_expectation(self) -> bool:
        """Whether an earlier run predicts the remaining steps. If not, `left` refers to the current step only."""
        return bool(self._expected)

    @property
    def passed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._start

    def step(self, text: str) -> None:
        """Begin a new step."""
        self._close()
        self._name, self._began = step_name(text), self._clock()
        if not self._expected:
            self._shown = None  # the shown time was the rest of the previous step

    def run(self, work: float) -> RunTime:
        """The times of the whole run; to be called once it is finished."""
        self._close()
        self._began = self._clock()
        return RunTime(work, tuple(list(self._spent.values())[:MAX_STEPS]))

    def counted(self) -> None:
        """Note that the current step counts items."""
        before = self._spent.get(self._name, StepTime(self._name, 0.0))
        if not before.counted:
            self._spent[self._name] = StepTime(self._name, before.seconds, counted=True)

    def _close(self) -> None:
        before = self._spent.get(self._name, StepTime(self._name, 0.0))
        seconds = before.seconds + self._clock() - self._began
        self._spent[self._name] = StepTime(self._name, seconds, before.counted)

    def left(self, step_left: float | None) -> float | None:
        """Estimated seconds until the end of the run, or None while there is no basis for an estimate.

        The number counts down with the clock and approaches a new estimate slowly, so that the shown time does not
        jump.

        Args:
            step_left: Seconds left in the current step at its present pace, if it is known.
        """
        now = self._clock()
        estimate = self._estimate(step_left, now)
        if estimate is None:
            return None if self._shown is None else max(self._shown[0] - (now - self._shown[1]), 0.0)
        if self._shown is None:
            self._shown = estimate, now
            return estimate
        seconds, before = self._shown
        counted_down = max(seconds - (now - before), 0.0)
        weight = min((now - before) / FOLLOW_SECONDS, 1.0)
        self._shown = counted_down + weight * (estimate - counted_down), now
        return self._shown[0]

    def _estimate(self, step_left: float | None, now: float) -> float | None:
        """Seconds for the rest of the current step and for all steps that followed it in the earlier run."""
        if self._name not in self._expected:
            return None if self._expected else step_left
        names = list(self._expected)
        later = sum(self._expected[name] for name in names[names.index(self._name) + 1 :])
        before = self._spent[self._name].seconds if self._name in self._spent else 0.0
        rest = self._expected[self._name] - before - (now - self._began)
        if step_left is not None:
            return max(step_left, rest, 0.0) + later if before else step_left + later
        return rest + later if rest > 0 else (later or None)


FOLLOW_SECONDS = 8.0
"""The shown time left approaches a new estimate over about this many seconds."""


def about(seconds: float) -> str:
    """`a few seconds`, `about 40 s`, `about 2 min`: rounded, because it is only an estimate."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 55:
        return f"about {math.ceil(seconds / 10) * 10} s"
    if seconds < 90:
        return "about 1 min"
    return f"about {duration(60 * round(seconds / 60) if seconds < 570 else 300 * round(seconds / 300))}"
