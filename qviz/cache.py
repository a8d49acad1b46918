"""A cache of the values used last, bounded in number or size. All caches of a process use this class."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LRUCache(Generic[T]):
    """Thread-safe; drops what was not used for longest.

    Args:
        max_size: Sum of the sizes of the values that stay.
        size_of: The size of a value; by default each counts 1. A value above `max_size` on its own stays alone.
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
        """The value, made on first use. `make` runs under the lock: it should be quick, or only start the work."""
        with self._lock:
            if key not in self._values:
                self.put(key, make())
            self._values.move_to_end(key)
            return self._values[key][0]

    def find(self, key: Hashable) -> T | None:
        """The value if it is there."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value under this key, as the one used last."""
        with self._lock:
            self.forget(key)
            size = self._size_of(value)
            while self._values and self._size + size > self._max_size:
                self._drop(next(iter(self._values)))
            self._values[key] = (value, size)
            self._size += size

    def forget(self, key: Hashable) -> None:
        """Drop the value, if there is one."""
        with self._lock:
            if key in self._values:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        value, size = self._values.pop(key)
        self._size -= size
        self._on_drop(value)

    def __len__(self) -> int:
        return len(self._values)
