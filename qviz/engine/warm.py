"""What a worker keeps from job to job: networks, decoded images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Warm:
    """The latest few values by key, kept for the life of the worker."""

    def __init__(self, size: int) -> None:
        self._size, self._values = size, OrderedDict[Any, Any]()

    def get(self, key: Any, make: Callable[[], T]) -> T:
        if key not in self._values:
            self._values[key] = make()
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        value: T = self._values[key]
        return value
