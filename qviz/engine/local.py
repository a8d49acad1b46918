"""Worker processes on this machine.

One single-worker executor a slot and one job in flight each, so that a crash, a hang or a memory blow-up fails that
job alone: its worker is killed and replaced while the job beside it goes on. Workers stay alive between jobs, so what
a job keeps in its process (interpreters by digest) is warm for the next.

Large bytes go to the workers as a `Blob`, in a private folder (`qviz.engine.shared`).
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from qviz.engine.interface import Blob, WarmUp
from qviz.engine.memory import tidied, worker_malloc
from qviz.engine.shared import SharedFiles
from qviz.engine.worker_start import first_job
from qviz.errors import Cancelled, WorkerCrashed, WorkerOutOfMemory, WorkerTimeout
from qviz.limits import limits

P = ParamSpec("P")
R = TypeVar("R")

STARTUP_LIMIT = 60.0
FULL = 0.6
"""Share of its memory limit above which a worker is replaced before it gets another job."""
LOOK_EVERY = 0.05
STOPPED = "The work was stopped before it was done."


@dataclass(order=True, slots=True)
class _Job:
    rank: tuple[int, int]
    function: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


class LocalEngine:
    """`workers` processes of this machine. `warm_up` runs in each as it starts (imports, mostly).

    time_limit: seconds a job may take, the worker's start not counted. memory_limit: bytes of resident memory of a
    worker. Both by default as `qviz.limits` says. Raises SettingsError where that cannot be read.
    """

    def __init__(
        self,
        workers: int | None = None,
        time_limit: float | None = None,
        memory_limit: int | None = None,
        warm_up: WarmUp = None,
    ) -> None:
        most = limits()
        self.workers = workers or os.cpu_count() or 1
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._count = itertools.count()
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="qviz-"))  # mode 0700: only this user reads the models
        self._shared = SharedFiles(self._folder, most.shared_models_mb << 20)
        bounds = time_limit or most.job_seconds, memory_limit or most.job_memory_mb << 20
        self._slots = [_Slot(self._jobs, self._folder, *bounds, warm_up) for _ in range(self.workers)]
        atexit.register(self.close)

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._queue(1, partial(function, *args, **kwargs))

    def submit_urgent(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return self._queue(0, partial(function, *args, **kwargs))

    def _queue(self, urgency: int, call: Callable[[], Any]) -> Future[Any]:
        if self._closed:
            raise RuntimeError("the engine is closed")
        future: Future[Any] = Future()
        self._jobs.put(_Job((urgency, next(self._count)), call, future))
        return future

    def share(self, data: bytes, digest: str) -> Blob:
        return self._shared.share(data, digest)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for slot in self._slots:
            slot.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Slot:
    """A thread that takes jobs and one worker process that runs them."""

    def __init__(
        self,
        jobs: queue.PriorityQueue[_Job],
        folder: Path,
        time_limit: float,
        memory_limit: int,
        warm_up: WarmUp,
    ) -> None:
        self._jobs, self._folder, self._warm_up = jobs, folder, warm_up
        self._time_limit, self._memory_limit = time_limit, memory_limit
        self._stopped = threading.Event()
        self._executor: Any = None
        self._looked_at: Any = None
        threading.Thread(target=self._work, name="qviz-slot", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._kill()

    def _work(self) -> None:
        with contextlib.suppress(Exception):  # a worker that cannot start says so at its first job
            self._start()
        while not (self._stopped.is_set() and self._jobs.empty()):
            try:
                job = self._jobs.get(timeout=0.2)
            except queue.Empty:
                continue
            if self._stopped.is_set():
                job.future.cancel()
            if job.future.set_running_or_notify_cancel():
                self._run(job)

    def _run(self, job: _Job) -> None:
        try:
            result = self._result(job.function)
        except BaseException as raised:
            stopped = self._stopped.is_set()
            error = Cancelled(STOPPED) if stopped else raised
            if _is_broken(error):
                self._kill()
                error = WorkerCrashed(
                    "The model's worker process crashed. The file is damaged, or an operator of it fails on this input;"
                    " the other models and images are not touched."
                )
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _result(self, function: Callable[[], R]) -> R:
        """A worker killed from outside says nothing against its job, which gets another, once: it may be the cause."""
        try:
            return self._once(function)
        except Exception as error:
            if self._stopped.is_set() or not (_is_broken(error) and "SIGKILL" in str(error)):
                raise
            self._kill()
            return self._once(function)

    def _once(self, function: Callable[[], R]) -> R:
        if self._executor is not None and self._memory() > FULL * self._memory_limit:
            self._kill()  # what earlier jobs keep warm must not fail this one
        if self._executor is None:
            self._start()
        return self._watch(self._executor.submit(partial(tidied, function)))

    def _start(self) -> None:
        """A worker that answers. Its start-up time is nobody's job's time."""
        # loky starts fresh interpreters (no fork of a threaded server) and does not run the main script again
        from loky.process_executor import ProcessPoolExecutor

        self._executor = ProcessPoolExecutor(
            max_workers=1,
            # interpreters are kept on purpose: loky must not take that for a leak and restart the worker
            env={
                "LOKY_MAX_MEMORY_LEAK_SIZE": str(self._memory_limit),
                "OMP_NUM_THREADS": "1",
                "GLIBC_TUNABLES": worker_malloc(os.environ.get("GLIBC_TUNABLES", "")),
            },
        )
        if self._stopped.is_set():  # stopped since it was last looked at, and nobody will kill this one
            self._kill()
            raise Cancelled(STOPPED)
        first = partial(first_job, self._warm_up, 2 * self._memory_limit, os.getpid(), self._folder)
        self._executor.submit(first).result(timeout=STARTUP_LIMIT)

    def _watch(self, running: Future[R]) -> R:
        """The job's result, unless it takes too long or too much."""
        end = time.monotonic() + self._time_limit
        while True:
            try:
                return running.result(timeout=LOOK_EVERY)
            except MemoryError:
                break  # the hard limit refused an allocation
            except TimeoutError:
                if running.done():
                    return running.result()  # it ended just now, or raised a TimeoutError of its own
            if self._memory() > self._memory_limit:
                break
            if time.monotonic() > end:
                self._kill()
                raise WorkerTimeout(
                    f"The model took longer than {self._time_limit:.3g} s on one job and was stopped."
                    " Its file is damaged, or it needs a larger limit."
                )
        self._kill()
        raise WorkerOutOfMemory(
            f"The model took more than {self._memory_limit / 2**30:.3g} GB of memory and was stopped."
            " Its file is damaged, or it needs a larger limit."
        )

    def _memory(self) -> int:
        """Resident bytes of the worker."""
        import psutil

        with contextlib.suppress(psutil.Error):
            pids = list(self._executor._processes)
            if self._looked_at is None or [self._looked_at.pid] != pids:
                self._looked_at = psutil.Process(pids[0]) if pids else None  # finding it costs more than a look
            return self._looked_at.memory_info().rss if self._looked_at is not None else 0
        return 0

    def _kill(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            with contextlib.suppress(Exception):
                executor.shutdown(wait=True, kill_workers=True)  # waits for its semaphores to be freed, not for the job


def _is_broken(error: BaseException) -> bool:
    """Whether the worker process is gone, in loky's words."""
    from loky.process_executor import BrokenProcessPool, ShutdownExecutorError

    return isinstance(error, (BrokenProcessPool, ShutdownExecutorError))
