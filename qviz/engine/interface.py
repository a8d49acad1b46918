"""The interface of an engine, which runs jobs in other processes and shares bytes with them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
WarmUp = Callable[[], object] | None


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Blob:
    """Bytes that every worker can read, identified by their digest."""

    digest: str
    path: Path

    def read(self) -> bytes:
        return self.path.read_bytes()


class Engine(ABC):
    """Runs functions in other processes. Functions and arguments must pickle."""

    workers: int

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a job and return its future, which raises what the function raised, or a WorkerError."""
        return self._queue(partial(function, *args, **kwargs), urgent=False)

    def submit_urgent(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a job ahead of all jobs that are not urgent, because a user is waiting for it."""
        return self._queue(partial(function, *args, **kwargs), urgent=True)

    @abstractmethod
    def _queue(self, call: Callable[[], R], urgent: bool) -> Future[R]:
        """Queue a call and return its future. Urgent calls run before all others."""

    @abstractmethod
    def share(self, data: bytes, digest: str) -> Blob:
        """Make bytes with this digest readable by the workers, and return the Blob by which jobs refer to them."""

    @abstractmethod
    def allow_reading(self, path: Path) -> None:
        """Let the jobs that are submitted from now on read a file, or the files of a folder whose names they know.

        Workers that are too old for it are replaced, which takes each about half a second.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop all workers at once; queued jobs are cancelled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def importing(module: str) -> Callable[[], object]:
    """A warm-up that imports a module in the worker, without importing it here."""
    return partial(import_module, module)
