"""How long work reports how far it is, and how long it will take."""

import time
from collections import deque
from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with (done, total) after each finished piece of work, from the thread that waits for it."""


def silent(done: int, total: int) -> None:
    """The OnProgress that reports to nobody."""


class TimeLeft:
    """Seconds until the end, at the pace of the last `WINDOW` seconds.

    Not at the mean pace: what a run finds in the store is done at once and says nothing of the rest.
    """

    WINDOW = 20.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def after(self, done: int, total: int) -> float | None:
        """What is left once `done` are done, or None while the pace is unknown."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[1][0] > self.WINDOW:
            self._seen.popleft()
        start, before = self._seen[0]
        if done <= before or now <= start:
            return None
        return (total - done) * (now - start) / (done - before)
