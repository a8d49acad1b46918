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
    """Carried as the first argument through every computation above the detector.

    Attributes:
        engine: Worker processes that run models and read images.
        store: Where detections are looked up and stored; None: everything is computed.
        threads: Threads per interpreter.
        progress: Receives progress reports.
        cancel: Set it to stop; the computation raises Cancelled at its next check.
        classes: Names of the only classes that count, in detections and annotations; empty: all.
    """

    engine: Engine
    store: Store | None = None
    threads: int = 1
    progress: Progress = field(default_factory=Progress)
    cancel: threading.Event | None = None
    classes: tuple[str, ...] = ()

    def check_cancelled(self) -> None:
        """Raises Cancelled if `cancel` is set."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled

    def wait(self, job: Future[T]) -> T:
        """The result of a job in a worker. Raises what the job raised; Cancelled soon after `cancel` is set."""
        while True:
            self.check_cancelled()
            try:
                return job.result(timeout=SECONDS_BETWEEN_CHECKS)
            except NotDoneYet:
                if job.done():  # the job itself ran into a time limit
                    return job.result()

    def reporting(self, on_progress: OnProgress) -> Context:
        """The same context, but `advance` calls this function: for a part of a longer computation."""
        return replace(self, progress=Advance(on_progress))

    def counting(self, classes: Iterable[str]) -> Context:
        """The same context, limited to these classes; with an empty sequence the context itself."""
        names = tuple(classes)
        return replace(self, classes=names) if names else self

    def quiet(self) -> Context:
        """The same context without progress reports."""
        return replace(self, progress=Progress())


@dataclass(slots=True, eq=False)
class Passes:
    """Several computations in a row that report their progress as one.

    Attributes:
        context: Receives the reports.
        total: Expected number of items of all computations together.
        done: Number of finished items.
    """

    context: Context
    total: int
    done: int = 0

    def next(self) -> Context:
        """The context for the next computation; its items are counted on top of those before."""
        before = self.done

        def report(done: int, total: int) -> None:
            self.done = before + done
            self.context.progress.advance(self.done, max(self.total, self.done))

        return self.context.reporting(report)
