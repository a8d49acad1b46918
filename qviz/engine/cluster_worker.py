"""What runs in a Dask worker: a small engine of its own, which runs the jobs in child processes.

So a job has the same limits on a cluster as on one machine (seconds, bytes, a crash is its own), a hostile model never
takes a shared worker down, and interpreters, which are not thread-safe, have a process each however many threads the
worker has. The worker itself handles bytes only: it imports neither the models' room nor TensorFlow Lite.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass, field

from qviz.engine.code import OTHER_CODE, code_digest
from qviz.engine.interface import WarmUp
from qviz.engine.local import LocalEngine
from qviz.engine.parcel import Parcel, run_packed
from qviz.errors import SettingsError

IDLE = 900.0
"""Seconds after which the engine of a client that left without a word is closed, once another client comes."""


@dataclass(frozen=True, slots=True)
class Session:
    """One client: its name, its limits and the digest of its code."""

    name: str
    code: str
    time_limit: float
    memory_limit: int
    warm_up: WarmUp


@dataclass(slots=True, eq=False)
class _Open:
    engine: LocalEngine
    used: float = field(default_factory=time.monotonic)


_OPEN: dict[str, _Open] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Failure:
    """What a job raised: returned, so that it is not taken for an error of Dask, nor logged as one."""

    error: BaseException


def work(session: Session, parcel: Parcel, *held: bytes) -> bytes | Failure:
    """One job: its pickled result, or its error. held: what the parcel needs, in its order."""
    try:
        return _result(session, parcel, held)
    except Exception as error:
        return Failure(error)


def _result(session: Session, parcel: Parcel, held: tuple[bytes, ...]) -> bytes:
    if session.code != code_digest():
        raise SettingsError(OTHER_CODE)
    engine = _engine(session)
    found = dict(zip(parcel.needs, held, strict=True))
    blobs = {digest: engine.share(found[digest], digest) for digest in parcel.blobs}
    heavy = {digest: found[digest] for digest in parcel.heavy}
    return engine.submit(run_packed, parcel.call, blobs, heavy).result()


def hold(data: bytes) -> bytes:
    """A task whose result is what jobs need: Dask brings it to each worker once, and makes it again if it is lost."""
    return data


def end(name: str) -> None:
    """The client has gone."""
    with _LOCK:
        found = _OPEN.pop(name, None)
    if found is not None:
        found.engine.close()


def _engine(session: Session) -> LocalEngine:
    """The session's own here, a process for each of the worker's threads."""
    from distributed import get_worker

    with _LOCK:
        if session.name not in _OPEN:
            idle = [name for name, other in _OPEN.items() if time.monotonic() - other.used > IDLE]
            for name in idle:
                _OPEN.pop(name).engine.close()
            _may_have_children()
            threads = get_worker().state.nthreads
            _OPEN[session.name] = _Open(LocalEngine(threads, session.time_limit, session.memory_limit, session.warm_up))
        found = _OPEN[session.name]
        found.used = time.monotonic()
        return found.engine


def _may_have_children() -> None:
    """A nanny's worker is "daemonic", which forbids children lest they outlive it; ours end with their parent."""
    config = getattr(multiprocessing.current_process(), "_config", {})
    config.pop("daemon", None)
