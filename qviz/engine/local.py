"""Worker processes on this machine.

Each slot is a thread with a single-worker executor that runs one job at a time. If a job crashes, hangs or uses too
much memory, only that job fails: its worker is killed and replaced while other jobs continue. A worker runs many jobs,
so that later jobs can use the interpreters that earlier jobs have cached in its process.

Large byte strings reach the workers as a `Blob`, a file in a private folder. Workers of all engines of this process
read the blobs of any of them, as a computation with workers of its own is given models that others have loaded.
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
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from qviz.cache import LRUCache
from qviz.engine.answers import read_only_answers, with_readable_errors
from qviz.engine.interface import Blob, Engine, WarmUp
from qviz.engine.memory import limit_memory, resident_memory, tidied, worker_malloc
from qviz.engine.sandbox import enter_sandbox, limits_files
from qviz.errors import Cancelled, SettingsError, WorkerCrashed, WorkerOutOfMemory, WorkerTimeout
from qviz.limits import limits

P = ParamSpec("P")
R = TypeVar("R")

STARTUP_LIMIT = 60.0
MAX_FILL = 0.6
"""A worker that uses more than this share of its memory limit is replaced before its next job."""
POLL_SECONDS = 0.05


@dataclass(order=True, slots=True)
class _Job:
    rank: tuple[bool, int]
    function: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


class LocalEngine(Engine):
    """Worker processes on this machine.

    Args:
        workers: Number of processes; by default the number of cores.
        time_limit: Seconds per job, not counting the start of the worker; by default the limit in `qviz.limits`.
        memory_limit: Bytes of resident memory per worker; by default the limit in `qviz.limits`.
        warm_up: Function that runs in each worker when it starts, usually to import modules.
        writable: A folder in which jobs may write, besides the folder of temporary files that each worker has.

    Raises:
        SettingsError: The administrator's file of limits cannot be read.
    """

    def __init__(
        self,
        workers: int | None = None,
        time_limit: float | None = None,
        memory_limit: int | None = None,
        warm_up: WarmUp = None,
        writable: Path | None = None,
    ) -> None:
        defaults = limits()
        self.workers = workers or os.cpu_count() or 1
        self._jobs: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._count = itertools.count()
        self._closed = False
        self._stack = contextlib.ExitStack()
        self._rights = _Rights(self._stack.enter_context(temporary_folder()), writable)
        self._shared = SharedFiles(self._rights.shared, defaults.shared_models_mb << 20)
        job_limits = time_limit or defaults.job_seconds, memory_limit or defaults.job_memory_mb << 20
        self._slots = [_Slot(self._jobs, self._rights, *job_limits, warm_up) for _ in range(self.workers)]
        atexit.register(self.close)

    def _queue(self, call: Callable[[], R], urgent: bool) -> Future[R]:
        if self._closed:
            raise RuntimeError("the engine is closed")
        future: Future[R] = Future()
        self._jobs.put(_Job((not urgent, next(self._count)), call, future))
        return future

    def share(self, data: bytes, digest: str) -> Blob:
        return self._shared.share(data, digest)

    def allow_reading(self, path: Path) -> None:
        self._rights.add(path)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for slot in self._slots:
            slot.stop()
        shutil.rmtree(self._rights.shared, ignore_errors=True)
        self._stack.close()


class _Rights:
    """What the sandbox of an engine's workers leaves them of the file system.

    Attributes:
        shared: The folder of the engine's blobs, inside the one of all engines, which workers read and do not list.
        readable: That folder, and the paths that were added. A worker never gets more than it had when it started.
    """

    def __init__(self, folder: Path, writable: Path | None) -> None:
        self.shared = Path(tempfile.mkdtemp(dir=_folder_of_blobs()))
        self.readable = frozenset({self.shared.parent})
        self._folder = folder
        self._writable = () if writable is None else (writable,)

    def add(self, path: Path) -> None:
        path = path.resolve()
        if limits_files() and not any(path.is_relative_to(readable) for readable in self.readable):
            self.readable |= {path}

    def writable(self) -> tuple[Path, ...]:
        """The folders in which a new worker may write: the first, for temporary files, is new and empty."""
        return Path(tempfile.mkdtemp(prefix="worker-", dir=self._folder)), *self._writable


class _Slot:
    """A thread that takes jobs and the one worker process that runs them."""

    def __init__(
        self,
        jobs: queue.PriorityQueue[_Job],
        rights: _Rights,
        time_limit: float,
        memory_limit: int,
        warm_up: WarmUp,
    ) -> None:
        self._jobs, self._rights, self._warm_up = jobs, rights, warm_up
        self._time_limit, self._memory_limit = time_limit, memory_limit
        self._stopped = threading.Event()
        self._executor: Any = None
        self._process: Any = None
        self._readable: frozenset[Path] = frozenset()
        self._temporary: Path | None = None
        threading.Thread(target=self._work, name="qviz-slot", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._kill()

    def _work(self) -> None:
        with contextlib.suppress(Exception):  # if a worker cannot start, its first job fails with the reason
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
            error = Cancelled() if stopped else raised
            if _is_broken(error):
                self._kill()
                error = WorkerCrashed(
                    "The model's worker process crashed. Its file is damaged, or an operator fails on this input;"
                    " other models and images are not affected."
                )
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _result(self, function: Callable[[], R]) -> R:
        """The result of a job. If its worker is killed (SIGKILL), the job runs once more: it may not be the cause."""
        try:
            return self._attempt(function)
        except Exception as error:
            if self._stopped.is_set() or not (_is_broken(error) and "SIGKILL" in str(error)):
                raise
            self._kill()
            return self._attempt(function)

    def _attempt(self, function: Callable[[], R]) -> R:
        if self._executor is not None and self._memory() > MAX_FILL * self._memory_limit:
            self._kill()  # so that memory left over from earlier jobs does not make this one fail
        if self._readable != self._rights.readable:
            self._kill()  # a worker that runs can get no further rights
        if self._executor is None:
            self._start()
        return self._watch(self._executor.submit(partial(tidied, partial(with_readable_errors, function))))

    def _start(self) -> None:
        """Start the worker and wait until it answers, so that its start-up does not count as a job's time."""
        # loky starts fresh interpreters (no fork of a threaded server) and does not run the main script again
        from loky.process_executor import ProcessPoolExecutor

        self._readable, writable = self._rights.readable, self._rights.writable()
        self._temporary = writable[0]
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            # loky must not take the interpreters that stay in memory for a leak and restart the worker
            env={
                "LOKY_MAX_MEMORY_LEAK_SIZE": str(self._memory_limit),
                "OMP_NUM_THREADS": "1",
                "GLIBC_TUNABLES": worker_malloc(os.environ.get("GLIBC_TUNABLES", "")),
            },
        )
        read_only_answers(self._executor, self._memory_limit)
        if self._stopped.is_set():  # stopped in the meantime, and nothing else would kill this worker
            self._kill()
            raise Cancelled()
        first = partial(first_job, self._warm_up, 2 * self._memory_limit, os.getpid(), writable, self._readable)
        self._executor.submit(first).result(timeout=STARTUP_LIMIT)

    def _watch(self, running: Future[R]) -> R:
        """Wait for a job's result, and kill its worker if the job exceeds its limits of time or memory."""
        end = time.monotonic() + self._time_limit
        while True:
            try:
                return running.result(timeout=POLL_SECONDS)
            except MemoryError:
                break  # the hard limit refused an allocation
            except TimeoutError:
                if running.done():
                    return running.result()  # it ended just now, or raised TimeoutError itself
            if self._memory() > self._memory_limit:
                break
            if time.monotonic() > end:
                self._kill()
                raise WorkerTimeout(
                    f"The model took longer than {self._time_limit:.3g} s on one job and was stopped."
                    " Its file is damaged, or the limit in limits.toml is too low."
                )
        self._kill()
        raise WorkerOutOfMemory(
            f"The model took more than {self._memory_limit / 2**30:.3g} GB of memory and was stopped."
            " Its file is damaged, or the limit in limits.toml is too low."
        )

    def _memory(self) -> int:
        """Resident memory of the worker in bytes; 0 if there is no worker."""
        import psutil

        with contextlib.suppress(psutil.Error):
            pids = list(self._executor._processes)
            if self._process is None or [self._process.pid] != pids:
                self._process = (
                    psutil.Process(pids[0]) if pids else None
                )  # creating it costs more than reading its memory
            return resident_memory(self._process) if self._process is not None else 0
        return 0

    def _kill(self) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            with contextlib.suppress(Exception):
                executor.shutdown(wait=True, kill_workers=True)  # waits for its semaphores to be freed, not for the job
        temporary, self._temporary = self._temporary, None
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _is_broken(error: BaseException) -> bool:
    """Whether the worker process is gone."""
    from loky.process_executor import BrokenProcessPool, ShutdownExecutorError

    return isinstance(error, (BrokenProcessPool, ShutdownExecutorError))


class SharedFiles:
    """Files with bytes that workers read. Thread-safe.

    The most recently used files are kept, up to `max_bytes`; others are removed once no `Blob` in this process refers
    to them. Otherwise a server that receives new models from every visitor would fill its disk.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._dropped: list[Blob] = []
        self._latest: LRUCache[Blob] = LRUCache(max_bytes, lambda blob: self._sizes[blob], self._dropped.append)
        self._sizes: weakref.WeakKeyDictionary[Blob, int] = weakref.WeakKeyDictionary()
        self._alive: weakref.WeakValueDictionary[str, Blob] = weakref.WeakValueDictionary()

    def share(self, data: bytes, digest: str) -> Blob:
        """The file with these bytes, which is written if it does not exist."""
        with self._lock:
            blob = self._alive.get(digest) or self._written(data, digest)
            self._sizes[blob] = len(data)
            self._latest.put(digest, blob)
            dropped, self._dropped[:] = list(self._dropped), []
        del dropped  # outside the lock: their files are removed now, unless a job still uses them
        return blob

    def _written(self, data: bytes, digest: str) -> Blob:
        path = self._folder / f"{digest}.{next(self._count)}"  # unique: an older file may be removed at this moment
        part = path.with_suffix(".part")
        try:
            part.write_bytes(data)
            part.replace(path)  # a worker never sees half a file
        except OSError as error:
            part.unlink(missing_ok=True)
            raise SettingsError(
                f"The workers cannot be given a file of {len(data) >> 20} MB: {tempfile.gettempdir()} cannot be written"
                f" ({error.strerror}). Make room there, or name another folder in TMPDIR."
            ) from error
        blob = Blob(digest, path)
        weakref.finalize(blob, path.unlink, missing_ok=True).atexit = False  # the folder is removed as a whole
        self._alive[digest] = blob
        return blob


def first_job(
    warm_up: WarmUp, hard_limit: int, parent: int, writable: tuple[Path, ...], readable: frozenset[Path]
) -> None:
    """Prepare a new worker: take its rights away, limit its memory, silence it, end it with its parent, import modules.

    hard_limit: bytes of memory above which allocations fail; it stops jobs that grow faster than the engine polls.
    """
    limit_memory(hard_limit)
    if "QVIZ_DEBUG" not in os.environ:  # runtimes print on both, and so into --json; an error is enough
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    enter_sandbox(writable, readable)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    if warm_up is not None:
        warm_up()


def _end_with_parent(parent: int) -> None:
    """End this worker once the engine's process has ended, as a killed engine cannot stop it."""
    while os.getppid() == parent:  # never changes on Windows, where loky's workers end by themselves
        time.sleep(1.0)
    os._exit(1)


_STARTING = threading.Lock()


def _folder_of_blobs() -> Path:
    """The folder with the blobs of all engines of this process; it is removed when the process ends."""
    with _STARTING:
        return _new_folder_of_blobs()


@cache
def _new_folder_of_blobs() -> Path:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(temporary_folder())


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that only this account can read. It is removed at the end, even if this process is killed.

    A tracker of loky, which is a process that outlives this one, then removes it.
    """
    from loky.backend import resource_tracker

    folder = Path(tempfile.mkdtemp(prefix="qviz-"))
    resource_tracker.register(str(folder), "folder")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        resource_tracker.unregister(str(folder), "folder")
