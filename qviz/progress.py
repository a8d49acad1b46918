"""Progress reports of long computations: the current step, finished items, and the time left."""

import time
from collections import deque
from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with (done, total) after each finished item, in the thread that waits for it."""


class Progress:
    """Receives the progress reports of one computation.

    This class ignores them; a `Job` shows them on a page, and `qviz.cli` shows them on standard error. A computation
    may have several steps, each of which counts from 0 to its own total.
    """

    def step(self, text: str) -> None:
        """Report that a new step begins. text: what it does, e.g. `Measuring ranges`."""

    def advance(self, done: int, total: int) -> None:
        """Report that `done` of `total` items of the current step are finished."""

    def partial(self, result: object) -> None:
        """Report the result so far; it has the type of the final result."""


class Advance(Progress):
    """Forwards `advance` to a function and ignores the other reports."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def advance(self, done: int, total: int) -> None:
        self._on_progress(done, total)


class TimeLeft:
    """Estimates the seconds until the end from the pace of the last `WINDOW` seconds.

    The mean pace since the start would be too high: results from the store arrive immediately and do not predict the
    rest.
    """

    WINDOW = 20.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._observed: deque[tuple[float, int]] = deque([(clock(), 0)])

    def after(self, done: int, total: int) -> float | None:
        """Seconds left when `done` of `total` items are finished, or None while the pace is unknown."""
        now = self._clock()
        self._observed.append((now, done))
        while len(self._observed) > 2 and now - self._observed[1][0] > self.WINDOW:
            self._observed.popleft()
        start, before = self._observed[0]
        if done <= before or now <= start:
            return None
        return (total - done) * (now - start) / (done - before)
