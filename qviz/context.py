"""What every computation needs besides its data: worker processes, the store, progress, cancellation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from qviz.engine import Engine
from qviz.errors import Cancelled
from qviz.progress import Advance, OnProgress, Progress
from qviz.store import Store


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """Carried as the first argument through every computation above the detector.

    Attributes:
        engine: Worker processes that run models and read images.
        store: Where detections are looked up first and kept; None computes everything.
        threads: Threads per interpreter.
        progress: Receives reports.
        cancel: Set it to stop; the computation raises Cancelled at its next check.
    """

    engine: Engine
    store: Store | None = None
    threads: int = 1
    progress: Progress = field(default_factory=Progress)
    cancel: threading.Event | None = None

    def check_cancelled(self) -> None:
        """Raises Cancelled where the work is to be stopped."""
        if self.cancel is not None and self.cancel.is_set():
            raise Cancelled("The work was stopped before it was done.")

    def reporting(self, on_progress: OnProgress) -> Context:
        """The same context, whose `advance` goes to this function: for a part of a longer computation."""
        return replace(self, progress=Advance(on_progress))

    def quiet(self) -> Context:
        """The same context without progress reports."""
        return replace(self, progress=Progress())
