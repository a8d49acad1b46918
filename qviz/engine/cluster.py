"""The workers of a Dask cluster as an engine: `DaskEngine("tcp://scheduler:8786")`.

Models and images travel as Dask tasks of their own, which jobs depend on: Dask brings them to each worker once, also to
those that join later, and makes them again where a lost worker held the only copy. A job whose worker is lost is run
on another one.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from qviz.engine.cluster_client import connected, in_our_words, same_workers
from qviz.engine.code import code_digest
from qviz.engine.interface import Blob, WarmUp
from qviz.errors import WorkerCrashed
from qviz.limits import limits

P = ParamSpec("P")
R = TypeVar("R")

ALONE_LIMIT = 60.0
HELD = 64
"""Heavy arguments (images) that are held for the jobs to come; jobs under way hold their own."""
URGENT = 10


@dataclass(frozen=True, slots=True)
class _Shared(Blob):
    """Readable here too; where a job runs it is another Blob, found by its digest."""

    data: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.data


class DaskEngine:
    """The cluster behind a scheduler's address. Raises SettingsError where it cannot be used.

    workers: the threads of all its workers when this client came. `warm_up` runs in each process that runs jobs.
    alone_limit: seconds that jobs wait where the last worker has gone and no other comes.
    """

    def __init__(
        self,
        address: str,
        time_limit: float | None = None,
        memory_limit: int | None = None,
        warm_up: WarmUp = None,
        alone_limit: float = ALONE_LIMIT,
    ) -> None:
        from qviz.engine.cluster_worker import Session

        self.address = address
        self._closed = False
        most = limits()  # this client's: workers keep to them for its jobs
        bounds = time_limit or most.job_seconds, memory_limit or most.job_memory_mb << 20
        self._session = Session(uuid.uuid4().hex, code_digest(), *bounds, warm_up)
        self._client = connected(address)
        try:
            self.workers = same_workers(self._client, address, self._session.code)
        except BaseException:
            self._client.close(timeout=2)
            raise
        self._executor = self._client.get_executor(pure=False)
        self._blobs: dict[str, Any] = {}
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._jobs: dict[Future[Any], Future[Any] | None] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, args=(alone_limit,), name="qviz-cluster", daemon=True).start()

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._queue(0, partial(function, *args, **kwargs))

    def submit_urgent(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._queue(URGENT, partial(function, *args, **kwargs))

    def share(self, data: bytes, digest: str) -> Blob:
        if digest not in self._blobs:
            self._blobs[digest] = self._hold(digest, data)
        return _Shared(digest, Path(digest), data)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stopped.set()
        for job in list(self._jobs):
            job.cancel()
        with contextlib.suppress(Exception):
            from qviz.engine.cluster_worker import end

            if self._client.status == "running":  # a cluster that is gone has nothing to end
                self._client.run(end, self._session.name, on_error="ignore")
        with contextlib.suppress(Exception):
            self._client.close(timeout=5)

    def _queue(self, urgency: int, call: Callable[[], Any]) -> Future[Any]:
        if self._closed:
            raise RuntimeError("the engine is closed")
        from qviz.engine.cluster_worker import work
        from qviz.engine.parcel import packed

        parcel, heavy = packed(call)
        job: Future[Any] = Future()
        self._jobs[job] = None
        job.add_done_callback(self._over)
        try:
            held = [self._held_future(digest, heavy) for digest in parcel.needs]
            running = self._executor.submit(work, self._session, parcel, *held, priority=urgency)
        except Exception as error:  # the scheduler is gone
            _settle(job, in_our_words(error, self.address))
            return job
        self._jobs[job] = running
        if job.done():  # given up meanwhile
            self._over(job)
        running.add_done_callback(partial(_pass_on, job, self.address))
        return job

    def _over(self, job: Future[Any]) -> None:
        """A job that is cancelled is taken off the cluster, and who waits for it is told."""
        running = self._jobs.pop(job, None)  # not in the job's own callback: each would keep the other
        if running is not None and job.cancelled():
            running.cancel()
            job.set_running_or_notify_cancel()

    def _watch(self, alone_limit: float) -> None:
        """Dask lets jobs wait for a worker without end."""
        seen = time.monotonic()
        while not self._stopped.wait(min(2.0, alone_limit / 2)):
            with contextlib.suppress(Exception):  # where the scheduler is gone its jobs have failed already
                if self._client.nthreads():
                    seen = time.monotonic()
            if time.monotonic() - seen > alone_limit:
                for job in list(self._jobs):
                    _settle(job, WorkerCrashed(f"All workers of {self.address} have gone, and no other has come."))

    def _held_future(self, digest: str, heavy: dict[str, bytes]) -> Any:
        """The Dask future of bytes that a job needs."""
        if digest not in heavy:
            return self._blobs[digest]
        if digest not in self._held:
            self._held[digest] = self._hold(digest, heavy[digest])
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        return self._held[digest]

    def _hold(self, digest: str, data: bytes) -> Any:
        from qviz.engine.cluster_worker import hold

        return self._client.submit(hold, data, key=f"qviz-{self._session.name}-{digest}", pure=False, priority=URGENT)

    def __enter__(self) -> DaskEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pass_on(job: Future[Any], address: str, running: Future[Any]) -> None:
    """What came of a job; an error of Dask in our words."""
    from qviz.engine.cluster_worker import Failure

    try:
        answer = running.result()
        result = None if isinstance(answer, Failure) else pickle.loads(answer)
    except BaseException as raised:
        _settle(job, in_our_words(raised, address))
    else:
        _settle(job, answer.error if isinstance(answer, Failure) else None, result)


def _settle(job: Future[Any], error: BaseException | None, result: Any = None) -> None:
    """Unless it is settled already: cancelled, or given up."""
    with contextlib.suppress(InvalidStateError):
        if job.done():
            return
        if error is not None:
            job.set_exception(error)
        else:
            job.set_result(result)
