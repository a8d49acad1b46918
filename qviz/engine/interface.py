"""The interface of an engine: jobs that run in other processes, and bytes that those can read."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

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


class Engine(Protocol):
    """Runs functions in other processes. Functions and arguments must pickle."""

    workers: int

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a job. Its future raises what the function raised, or a WorkerError."""

    def submit_urgent(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Queue a job before all that are not urgent, because a user is waiting for it."""

    def share(self, data: bytes, digest: str) -> Blob:
        """Make bytes readable to the workers."""

    def close(self) -> None:
        """Stop all workers at once; queued jobs are cancelled."""


def importing(module: str) -> Callable[[], object]:
    """A warm-up that imports a module in the worker, without importing it here."""
    return partial(import_module, module)
