"""How long work reports how far it is."""

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with (done, total) after each finished piece of work, from the thread that waits for it."""


def silent(done: int, total: int) -> None:
    """The OnProgress that reports to nobody."""
