"""A least-recently-used cache, bounded by the number or the total size of its values. All in-process caches use it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LRUCache(Generic[T]):
    """A thread-safe cache that drops the least recently used values first.

    Args:
        max_size: Maximum sum of the sizes of the cached values.
        size_of: Returns the size of a value; by default each value counts 1. A single value larger than `max_size` is
            still cached, but alone.
        on_drop: Called with each value that is dropped.

    Example:
        >>> cache = LRUCache[int](2)
        >>> [cache.get(key, lambda key=key: len(key)) for key in ("a", "bb", "a", "ccc", "bb")]
        [1, 2, 1, 3, 2]
    """

    def __init__(
        self,
        max_size: float,
        size_of: Callable[[T], float] = lambda value: 1,
        on_drop: Callable[[T], object] = lambda value: None,
    ) -> None:
        self._max_size, self._size_of, self._on_drop = max_size, size_of, on_drop
        self._lock = threading.RLock()
        self._values: OrderedDict[Hashable, tuple[T, float]] = OrderedDict()
        self._size = 0.0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached value; `make` creates it if it is missing.

        `make` runs while the lock is held, so it should be quick or only start the work.
        """
        with self._lock:
            if key not in self._values:
                self.put(key, make())
            self._values.move_to_end(key)
            return self._values[key][0]

    def find(self, key: Hashable) -> T | None:
        """The cached value, or None."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: T) -> None:
        """Store a value under this key and mark it as the most recently used."""
        with self._lock:
            self.forget(key)
            size = self._size_of(value)
            while self._values and self._size + size > self._max_size:
                self._drop(next(iter(self._values)))
            self._values[key] = (value, size)
            self._size += size

    def forget(self, key: Hashable) -> None:
        """Drop the value of this key, if there is one."""
        with self._lock:
            if key in self._values:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        value, size = self._values.pop(key)
        self._size -= size
        self._on_drop(value)

    def __len__(self) -> int:
        return len(self._values)
