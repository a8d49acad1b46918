"""A long computation in a thread, with progress, partial result, cancellation and error for a page to show."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qviz.context import Context
from qviz.errors import Cancelled
from qviz.formatting import duration
from qviz.progress import Progress, TimeLeft

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Job(Progress, Generic[T]):
    """Started with `start`; read from any thread while it runs.

    Attributes:
        step_text: The current step, in words.
        done, total: Items of the current step; total is 0 while unknown.
        unit: Name of the items that are counted, e.g. `images`.
        seconds_left: Time left in the current step; None while unknown.
        partial_result: The result so far, or None.
        started: Whether it runs or has run; before that it waits for other jobs.
        cancel: Set it to stop the computation.
        finish_early: Set it to end an iterative computation now and keep what it has; only some computations read it.
        future: The result, or the error.
    """

    step_text: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    partial_result: T | None = None
    started: bool = False
    cancel: threading.Event = field(default_factory=threading.Event)
    finish_early: threading.Event = field(default_factory=threading.Event)
    future: Future[T] = field(default_factory=Future)
    _time_left: TimeLeft = field(default_factory=TimeLeft)
    _step_began: float = field(default_factory=time.monotonic)

    def start(self, executor: Executor, function: Callable[[Context], T], context: Context) -> None:
        """Run `function(context)` in a thread of `executor`; the context reports to this job and is cancelled by it."""
        job_context = Context(context.engine, context.store, context.threads, self, self.cancel)

        def run() -> T:
            self.started = True
            self.step(self.step_text)
            job_context.check_cancelled()
            return function(job_context)

        self.future = executor.submit(run)

    def step(self, text: str) -> None:
        self.step_text, self.done, self.total, self.seconds_left = text, 0, 0, None
        self._time_left, self._step_began = TimeLeft(), time.monotonic()

    def advance(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._time_left.after(done, total)

    def partial(self, result: object) -> None:
        self.partial_result = result  # type: ignore[assignment]

    @property
    def share(self) -> float:
        """Finished share of the current step, in [0, 1]."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    @property
    def finished(self) -> bool:
        """Whether there is a result or an error."""
        return self.future.done()

    @property
    def error(self) -> BaseException | None:
        """The exception that it raised; None while it runs or if it succeeded."""
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

    def progress_text(self) -> str:
        """For example `Detecting · 12 of 80 images · 4.1 images/s · 17 s left`; unknown parts are left out."""
        if self.cancel.is_set():
            return "Stopping"
        if not self.started:
            return "Waiting for another computation to finish"
        parts = [self.step_text] if self.step_text else []
        if 0 < self.done < self.total:
            parts.append(f"{self.done} of {self.total} {self.unit}".rstrip())
            if self.unit:
                parts.append(f"{self.done / max(time.monotonic() - self._step_began, 0.01):.1f} {self.unit}/s")
        if self.seconds_left is not None and self.done < self.total:
            parts.append(f"{duration(self.seconds_left)} left")
        return " · ".join(parts) or "Starting"
