"""The environment of a computation: worker processes, the store, progress and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDoneYet
from dataclasses import dataclass, field, replace
from typing import TypeVar

from qviz.engine import Engine
from qviz.errors import Cancelled
from qviz.progress import Advance, OnProgress, Progress
from qviz.store import Store

T = TypeVar("T")
SECONDS_BETWEEN_CHECKS = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The first argument of every computation above the detector.

    Attributes:
        engine: Worker processes that run models and read images.
        store: Cache of detections; if None, everything is computed.
        threads: Number of threads per interpreter.
        progress: Receives progress reports.
        cancel: Event that stops the computation: once it is set, the next check raises Cancelled.
        classes: Names of the classes to which detections and annotations are limited; empty for all classes.
    """

    engine: Engine
    store: Store | None = None
    threads: int = 1
    progress: Progress = field(default_factory=Progress)
    cancel: threading.Event | None = None
    classes: tuple[str, ...] = ()

    def check_cancelled(self) -> None:
        """Raise Cancelled if `cancel` is set."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled

    def wait(self, job: Future[T]) -> T:
        """Wait for a job in a worker and return its result.

        Raises what the job raised, or Cancelled soon after `cancel` is set.
        """
        while True:
            self.check_cancelled()
            try:
                return job.result(timeout=SECONDS_BETWEEN_CHECKS)
            except NotDoneYet:
                if job.done():  # the job itself ran into a time limit
                    return job.result()

    def reporting(self, on_progress: OnProgress) -> Context:
        """A copy of the context that reports progress to `on_progress`; used for a part of a longer computation."""
        return replace(self, progress=Advance(on_progress))

    def counting(self, classes: Iterable[str]) -> Context:
        """A copy of the context that is limited to these classes; the context itself if no classes are given."""
        names = tuple(classes)
        return replace(self, classes=names) if names else self

    def quiet(self) -> Context:
        """A copy of the context that reports no progress."""
        return replace(self, progress=Progress())


@dataclass(slots=True, eq=False)
class Passes:
    """Several consecutive computations that report their progress as one.

    Attributes:
        context: Receives the reports.
        total: Expected number of items over all computations.
        done: Number of items finished so far.
    """

    context: Context
    total: int
    done: int = 0

    def next(self) -> Context:
        """The context for the next computation; its items are added to those of the computations before it."""
        before = self.done

        def report(done: int, total: int) -> None:
            self.done = before + done
            self.context.progress.advance(self.done, max(self.total, self.done))

        return self.context.reporting(report)
