"""An engine that runs jobs on the workers of a Dask cluster: `DaskEngine("tcp://scheduler:8786")`.

Models and images are separate Dask tasks, on which the jobs depend. Dask sends them once to each worker, including
workers that join later. If a lost worker had the only copy, Dask repeats the task; data scattered by the client would
be lost. A job whose worker is lost runs again on another worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from qviz.cache import LRUCache
from qviz.engine.answers import read_answer
from qviz.engine.cluster_worker import Failure, Session, end_session, identity, pickle_job, run_job
from qviz.engine.code import OTHER_CODE, code_digest
from qviz.engine.interface import Blob, Engine, WarmUp
from qviz.errors import QvizError, SettingsError, WorkerCrashed
from qviz.limits import limits
from qviz.optional import install_command

P = ParamSpec("P")
R = TypeVar("R")

CONNECT_SECONDS = 10.0
"""Seconds within which the scheduler must answer, and within which its first worker must appear."""
ALONE_LIMIT = 60.0
MAX_HEAVY = 64
"""Number of large arguments (images) kept on the cluster for later jobs; running jobs hold their own references."""
URGENT = 10


@dataclass(frozen=True, slots=True)
class _Shared(Blob):
    """Bytes that this process can read. In a process that runs a job, a Blob with the same digest takes its place."""

    data: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.data


class DaskEngine(Engine):
    """The workers of a Dask cluster.

    Args:
        address: The scheduler's address.
        time_limit: Seconds per job; by default the limit in `qviz.limits` on this machine.
        memory_limit: Bytes of resident memory per process; by default the limit in `qviz.limits` on this machine.
        warm_up: Function that runs in each process when it starts.
        alone_limit: All jobs fail after this many seconds without any worker.

    Attributes:
        workers: Total number of threads of the workers at the time this client connected.

    Raises:
        SettingsError: The cluster cannot be used; the message says why.
    """

    def __init__(
        self,
        address: str,
        time_limit: float | None = None,
        memory_limit: int | None = None,
        warm_up: WarmUp = None,
        alone_limit: float = ALONE_LIMIT,
    ) -> None:
        self.address = address
        self._closed = False
        defaults = limits()
        job_limits = time_limit or defaults.job_seconds, memory_limit or defaults.job_memory_mb << 20
        self._session = Session(uuid.uuid4().hex, code_digest(), *job_limits, warm_up)
        self._client = _connected(address)
        try:
            self.workers = _checked_workers(self._client, address, self._session.code)
        except BaseException:
            self._client.close(timeout=2)
            raise
        self._executor = self._client.get_executor(pure=False)
        self._blobs: dict[str, Any] = {}
        self._heavy: LRUCache[Any] = LRUCache(MAX_HEAVY)
        self._jobs: dict[Future[Any], Future[Any] | None] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, args=(alone_limit,), name="qviz-cluster", daemon=True).start()

    def share(self, data: bytes, digest: str) -> Blob:
        if digest not in self._blobs:
            self._blobs[digest] = self._sent(digest, data)
        return _Shared(digest, Path(digest), data)

    def allow_reading(self, path: Path) -> None:
        readable = dict.fromkeys((*self._session.readable, str(path.resolve())))
        self._session = replace(self._session, readable=tuple(readable))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stopped.set()
        for job in list(self._jobs):
            job.cancel()
        with contextlib.suppress(Exception):
            if self._client.status == "running":  # otherwise the cluster is gone, and so are its engines
                self._client.run(end_session, self._session.name, on_error="ignore")
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def _queue(self, call: Callable[[], R], urgent: bool) -> Future[R]:
        if self._closed:
            raise RuntimeError("the engine is closed")
        pickled, heavy = pickle_job(call)
        job: Future[Any] = Future()
        self._jobs[job] = None
        job.add_done_callback(self._forget)
        try:
            data = [self._data(digest, heavy) for digest in pickled.needs]
            running = self._executor.submit(run_job, self._session, pickled, *data, priority=URGENT if urgent else 0)
        except Exception as error:  # the scheduler is gone
            _settle(job, _translated(error, self.address))
            return job
        self._jobs[job] = running
        if job.done():  # it was cancelled or has failed in the meantime
            self._forget(job)
        running.add_done_callback(partial(_pass_on, job, self.address))
        return job

    def _forget(self, job: Future[Any]) -> None:
        """Forget a finished job. If it was cancelled, also cancel its Dask task and notify the threads that wait."""
        running = self._jobs.pop(job, None)  # not in the job's own callback: the two would keep each other alive
        if running is not None and job.cancelled():
            running.cancel()
            job.set_running_or_notify_cancel()

    def _watch(self, alone_limit: float) -> None:
        """Fail all jobs after `alone_limit` seconds without a worker; Dask would let them wait forever."""
        last_worker_at = time.monotonic()
        while not self._stopped.wait(min(2.0, alone_limit / 2)):
            with contextlib.suppress(Exception):  # if the scheduler is gone, its jobs have failed already
                if self._client.nthreads():
                    last_worker_at = time.monotonic()
            if time.monotonic() - last_worker_at > alone_limit:
                for job in list(self._jobs):
                    message = f"All workers of {self.address} have left; start one with `dask worker {self.address}`."
                    _settle(job, WorkerCrashed(message))

    def _data(self, digest: str, heavy: dict[str, bytes]) -> Any:
        """The Dask future of the bytes with this digest. heavy: digest -> large argument of the job."""
        if digest not in heavy:
            return self._blobs[digest]
        return self._heavy.get(digest, lambda: self._sent(digest, heavy[digest]))

    def _sent(self, digest: str, data: bytes) -> Any:
        key = f"qviz-{self._session.name}-{digest}"
        return self._client.submit(identity, data, key=key, pure=False, priority=URGENT)


def _pass_on(job: Future[Any], address: str, running: Future[Any]) -> None:
    """Settle a job with the result or the error of its Dask task."""
    try:
        answer = running.result()
        result = None if isinstance(answer, Failure) else read_answer(answer)
    except BaseException as raised:
        _settle(job, _translated(raised, address))
    else:
        _settle(job, answer.error if isinstance(answer, Failure) else None, result)


def _settle(job: Future[Any], error: BaseException | None, result: Any = None) -> None:
    """Set the job's error or result, unless it was cancelled or has already failed."""
    with contextlib.suppress(InvalidStateError):
        if job.done():
            return
        if error is not None:
            job.set_exception(error)
        else:
            job.set_result(result)


def _connected(address: str) -> Any:
    """A Dask client that is connected to this scheduler. Raises SettingsError."""
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            f"{address} is a Dask cluster, and Dask is not installed; install it with: {install_command('cluster')}"
        ) from error
    if "QVIZ_DEBUG" not in os.environ:  # qviz's own errors tell users what they need to know
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "4 GiB"})  # a model is large but sent only once
    try:
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="qviz")
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise SettingsError(
            f"No Dask scheduler answers at {address} within {CONNECT_SECONDS:.0f} s; start one with `dask scheduler`"
            " and give the address that it prints, e.g. tcp://127.0.0.1:8786."
        ) from error


def _checked_workers(client: Any, address: str, code: str) -> int:
    """Total number of threads of the workers. Raises SettingsError if there is no worker, or one with other code."""
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        raise SettingsError(
            f"The Dask scheduler at {address} has no worker; start some with `dask worker {address} --nthreads 1`."
        ) from error
    try:
        answers = client.run(code_digest, on_error="return")
    except Exception as error:
        answers = {address: error}
    for answer in answers.values():
        if isinstance(answer, BaseException):
            reason = _translated(answer, address)
            raise reason if isinstance(reason, QvizError) else SettingsError(f"A worker of {address} fails: {reason}")
        if answer != code:
            raise SettingsError(OTHER_CODE)
    return max(1, sum(client.nthreads().values()))


def _translated(error: BaseException, address: str) -> BaseException:
    """The error of qviz that corresponds to an error of Dask; other errors are returned unchanged."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return WorkerCrashed(
            f"The job ran on several workers of {address}, and each was lost while it ran; see their logs."
        )
    if missing := re.search(r"No module named '(qviz|loky|psutil)\b", str(error)):
        return SettingsError(
            f"A worker of {address} does not have {missing[1]}; install the same version of qviz on every worker."
        )
    if isinstance(error, (CancelledError, OSError)) or type(error).__module__.startswith("distributed"):
        return WorkerCrashed(f"The Dask cluster at {address} was lost before the job finished.")
    return error
