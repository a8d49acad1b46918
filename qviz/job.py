"""A long computation that runs in a thread; a page shows its progress, partial result or error, and can cancel it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qviz.context import Context
from qviz.errors import Cancelled
from qviz.job_times import JobTimes, Stopwatch, about
from qviz.progress import Progress, TimeLeft

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job(Progress, Generic[T]):
    """A computation that begins with `start`; any thread may read its state while it runs.

    Attributes:
        step_text: The current step, in words.
        done, total: Number of finished items and of all items of the current step; total is 0 while it is unknown.
        unit: Name of the items that are counted, e.g. `images`.
        kind, subject, work: The kind of computation, the digest of its model, and its number of items. Earlier runs of
            the same kind predict the duration.
        times: Records the duration of the run; None if it is not recorded.
        partial_result: The result so far, or None.
        started: Whether the computation is running or has run; until then it waits for other jobs.
        cancel: Event that stops the computation.
        finish_early: Event that ends an iterative computation and keeps its result so far; only some computations check
            it.
        future: The result, or the error.
    """

    step_text: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    kind: str = ""
    subject: str = ""
    work: float = 1.0
    times: JobTimes | None = None
    partial_result: T | None = None
    started: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)
    finish_early: threading.Event = field(default_factory=threading.Event)
    future: Future[T] = field(default_factory=Future)
    _time_left: TimeLeft = field(default_factory=TimeLeft)
    _step_began: float = field(default_factory=time.monotonic)
    _step_left: float | None = None
    _stopwatch: Stopwatch = field(default_factory=Stopwatch)
    _whole_share: float = 0.0
    _left_text: tuple[int, str] = (-1, "")

    def start(self, executor: Executor, function: Callable[[Context], T], context: Context) -> None:
        """Run `function(context)` in a thread of `executor`; the context reports its progress to this job.

        Setting the job's `cancel` event cancels the context.
        """
        job_context = Context(context.engine, context.store, context.threads, self, self.cancel)

        def run() -> T:
            expected = None
            if self.times is not None:
                expected, _ = self.times.expected(self.kind, self.subject, self.work)
            self._stopwatch, self.started = Stopwatch(expected), True
            self.step(self.step_text)
            job_context.check_cancelled()
            result = function(job_context)
            if self.times is not None and not self.finish_early.is_set():
                self.times.add(self.kind, self.subject, self._stopwatch.run(self.work))
            return result

        self.future = executor.submit(run)

    def stop(self) -> None:
        """Cancel the job: immediately if it is still waiting for other jobs, else at its next check."""
        self.cancel.set()
        self.future.cancel()

    def step(self, text: str) -> None:
        self.step_text, self.done, self.total, self._step_left = text, 0, 0, None
        self._time_left, self._step_began = TimeLeft(), time.monotonic()
        self._stopwatch.step(text)

    def advance(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._step_left = self._time_left.after(done, total)
        self._stopwatch.counted()

    def partial(self, result: object) -> None:
        self.partial_result = result  # type: ignore[assignment]

    @property
    def share(self) -> float:
        """The finished share in [0, 1] of the whole run or, if no earlier run predicts it, of the current step."""
        if not self._stopwatch.has_expectation:
            return min(self.done / self.total, 1.0) if self.total else 0.0
        left, passed = self._stopwatch.left(self._pace()), self._stopwatch.passed
        if left is not None and passed > 0:
            self._whole_share = max(self._whole_share, passed / (passed + left))
        return min(self._whole_share, 1.0)

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self.future.done()

    @property
    def error(self) -> BaseException | None:
        """The exception that the computation raised; None while it runs, or if it succeeded or was cancelled early."""
        return self.future.exception() if self.future.done() and not self.future.cancelled() else None

    @property
    def cancelled(self) -> bool:
        """Whether it was stopped before it had a result."""
        return self.future.cancelled() or isinstance(self.error, Cancelled)

    @property
    def result(self) -> T | None:
        """The final result, else the partial one, else None."""
        if self.future.done() and not self.future.cancelled() and self.future.exception() is None:
            return self.future.result()
        return self.partial_result

    def time_left_text(self) -> str:
        """`about 2 min left`, followed by ` in this step` if no earlier run predicts the rest; empty while unknown.

        The text changes at most once per second, so that the page and the tray show the same text although they are
        drawn one after the other.
        """
        second = int(time.monotonic())
        if self._left_text[0] != second or self.finished:
            self._left_text = second, self._time_left_now()
        return self._left_text[1]

    def _time_left_now(self) -> str:
        if not self.started or self.finished:
            return ""
        seconds = self._stopwatch.left(self._pace())
        if seconds is None or (self.total and self.done >= self.total and not self._stopwatch.has_expectation):
            return ""
        return f"{about(seconds)} left{'' if self._stopwatch.has_expectation else ' in this step'}"

    def progress_text(self) -> str:
        """For example `Detecting · 12 of 80 images · 4.1 images/s · about 20 s left`; unknown parts are left out."""
        if self.cancel.is_set():
            return "Stopping"
        if not self.started:
            return "Queued: it starts when the job before it is finished"
        parts = [self.step_text] if self.step_text else []
        if 0 < self.done < self.total:
            parts.append(f"{self.done} of {self.total} {self.unit}".rstrip())
            if self.unit:
                parts.append(f"{self.done / max(time.monotonic() - self._step_began, 0.01):.1f} {self.unit}/s")
        return " · ".join([*parts, *filter(None, [self.time_left_text()])]) or "Starting"

    def _pace(self) -> float | None:
        """Seconds left in the current step at its present pace; None during the first `MIN_SECONDS` of the step."""
        return self._step_left if time.monotonic() - self._step_began > MIN_SECONDS else None


MIN_SECONDS = 3.0
"""The pace of a step predicts the time left only after this many seconds."""
