"""The code that runs in a Dask worker: one `LocalEngine` per client, whose child processes run the jobs.

A job thus has the same limits of time and memory on a cluster as on one machine, and a hostile model never ends a
shared worker. Interpreters are not thread-safe, so each has its own process, even if the worker has several threads.
The worker itself only handles bytes and does not import TensorFlow Lite.

Jobs are sent pickled, without their large arguments: `Blob`s and byte strings of at least `HEAVY` bytes are replaced by
their digests, so that models and images are sent once per worker and not once per job.
"""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import pickle
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle

from qviz.engine.code import OTHER_CODE, code_digest
from qviz.engine.interface import Blob, WarmUp
from qviz.engine.local import LocalEngine
from qviz.errors import SettingsError

HEAVY = 16 << 10
IDLE_SECONDS = 900.0
"""The engine of a client that has disappeared is closed after this time without a job. This is checked when another
client connects."""


@dataclass(frozen=True, slots=True)
class Session:
    """A client: its name, the digest of its code, its limits, its warm-up function, and what its jobs may read."""

    name: str
    code: str
    time_limit: float
    memory_limit: int
    warm_up: WarmUp
    readable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PickledJob:
    """A function with its arguments, pickled, and the digests of the blobs and heavy bytes that it needs."""

    call: bytes
    blobs: tuple[str, ...]
    heavy: tuple[str, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """The digests of all blobs and heavy bytes, without duplicates."""
        return tuple(dict.fromkeys(self.blobs + self.heavy))


def pickle_job(call: Any) -> tuple[PickledJob, dict[str, bytes]]:
    """(the pickled job, digest -> each large byte string that was taken out of it)."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    pickler.dump(call)
    return PickledJob(buffer.getvalue(), tuple(sorted(pickler.blobs)), tuple(pickler.heavy)), pickler.heavy


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.blobs: set[str] = set()
        self.heavy: dict[str, bytes] = {}

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        if isinstance(value, Blob):
            self.blobs.add(value.digest)
            return "blob", value.digest
        if type(value) is bytes and len(value) >= HEAVY:
            digest = hashlib.sha256(value).hexdigest()
            self.heavy[digest] = value
            return "heavy", digest
        return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, call: bytes, blobs: Mapping[str, Blob], heavy: Mapping[str, bytes]) -> None:
        super().__init__(io.BytesIO(call))
        self._values: dict[str, Mapping[str, Any]] = {"blob": blobs, "heavy": heavy}

    def persistent_load(self, identity: Any) -> Any:
        kind, digest = identity
        return self._values[kind][digest]


def run_pickled(call: bytes, blobs: Mapping[str, Blob], heavy: Mapping[str, bytes]) -> bytes:
    """Run a job in a child process. The result is pickled: the Dask worker passes it on without knowing its type."""
    result = _Unpickler(call, blobs, heavy).load()()
    return bytes(cloudpickle.dumps(result))


@dataclass(slots=True, eq=False)
class _OpenEngine:
    engine: LocalEngine
    used_at: float = field(default_factory=time.monotonic)


_ENGINES: dict[str, _OpenEngine] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Failure:
    """The exception of a job. It is returned and not raised, so that Dask does not treat or log it as its own error."""

    error: BaseException


def run_job(session: Session, job: PickledJob, *data: bytes) -> bytes | Failure:
    """The Dask task that runs one job. Returns its pickled result, or its error.

    data: The bytes of the digests in `job.needs`, in that order.
    """
    try:
        if session.code != code_digest():
            raise SettingsError(OTHER_CODE)
        engine = _engine(session)
        by_digest = dict(zip(job.needs, data, strict=True))
        blobs = {digest: engine.share(by_digest[digest], digest) for digest in job.blobs}
        heavy = {digest: by_digest[digest] for digest in job.heavy}
        return engine.submit(run_pickled, job.call, blobs, heavy).result()
    except Exception as error:
        return Failure(error)


def identity(data: bytes) -> bytes:
    """A Dask task that returns its argument; jobs depend on it, so that Dask sends the bytes to each worker once."""
    return data


def end_session(name: str) -> None:
    """Close the engine of a client that has left."""
    with _LOCK:
        opened = _ENGINES.pop(name, None)
    if opened is not None:
        opened.engine.close()


def _engine(session: Session) -> LocalEngine:
    """The client's engine in this worker, with one process per thread of the worker."""
    from distributed import get_worker

    with _LOCK:
        if session.name not in _ENGINES:
            idle = [name for name, other in _ENGINES.items() if time.monotonic() - other.used_at > IDLE_SECONDS]
            for name in idle:
                _ENGINES.pop(name).engine.close()
            _allow_children()
            engine = LocalEngine(get_worker().state.nthreads, session.time_limit, session.memory_limit, session.warm_up)
            _ENGINES[session.name] = _OpenEngine(engine)
        opened = _ENGINES[session.name]
        opened.used_at = time.monotonic()
        for path in session.readable:
            opened.engine.allow_reading(Path(path))
        return opened.engine


def _allow_children() -> None:
    """Allow this process to have children.

    Python does not let a worker under a Dask nanny start child processes, because it is daemonic and they could outlive
    it. The child processes of `LocalEngine` end with their parent.
    """
    config = getattr(multiprocessing.current_process(), "_config", {})
    config.pop("daemon", None)
