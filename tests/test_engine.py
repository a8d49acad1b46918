"""Failing jobs do not affect others. Jobs are defined inside the tests, so they are pickled by value."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from qviz.engine import Blob, LocalEngine, memory, sandbox_sentence
from qviz.engine.local import SharedFiles
from qviz.errors import Cancelled, WorkerCrashed, WorkerOutOfMemory, WorkerTimeout
from qviz.structures import digest_of
from tests.conftest import ROOT

TIME_LIMIT, MEMORY_LIMIT = 6, 400 << 20


@pytest.fixture(scope="module")
def pair() -> Iterator[LocalEngine]:
    """An engine of two workers with low limits."""
    with LocalEngine(2, time_limit=TIME_LIMIT, memory_limit=MEMORY_LIMIT) as running:
        yield running


@pytest.fixture
def single() -> Iterator[LocalEngine]:
    with LocalEngine(1) as running:
        assert running.submit(len, "warm").result(timeout=30) == 4
        yield running


def neighbour() -> Callable[[], int]:
    """A job that runs while another one fails; it returns its process id."""

    def work() -> int:
        time.sleep(0.4)
        return os.getpid()

    return work


def two_at_once(pair: LocalEngine) -> None:
    """Assert that two processes work in parallel, within a minute: a worker that is replaced may still be starting."""
    end = time.monotonic() + 60
    while len({job.result(timeout=60) for job in [pair.submit(neighbour()) for _ in range(2)]}) < 2:
        assert time.monotonic() < end


@contextmanager
def busy(single: LocalEngine) -> Iterator[Future[int]]:
    """Hold up the worker; gives a job that it has begun and that ends after the block."""
    worker = single.submit(os.getpid).result(timeout=60)
    os.kill(worker, signal.SIGSTOP)
    try:
        running = single.submit(os.getpid)
        while not running.running():
            time.sleep(0.01)
        yield running
    finally:
        os.kill(worker, signal.SIGCONT)


def grow() -> Callable[[], int]:
    def work() -> int:
        blocks = []
        while True:  # touched, so that it is resident
            blocks.append(b"x" * (20 << 20))

    return work


WRONG: list[tuple[Callable[[], Any], tuple[Any, ...], type[Exception], str]] = [
    (os.abort, (), WorkerCrashed, "worker process crashed"),
    (os._exit, (0,), WorkerCrashed, "worker process crashed"),
    (time.sleep, (60,), WorkerTimeout, "took longer than 6 s"),
    (grow(), (), WorkerOutOfMemory, "took more than 0.391 GB"),
    (bytearray, (8 << 30,), WorkerOutOfMemory, "took more than 0.391 GB"),  # allocated faster than memory is checked
]


@pytest.mark.parametrize(("wrong", "arguments", "error", "sentence"), WRONG)
def test_other_jobs_finish_when_a_worker_crashes(
    pair: LocalEngine, wrong: Any, arguments: tuple[Any, ...], error: type[Exception], sentence: str
) -> None:
    two_at_once(pair)
    beside, failing = pair.submit(neighbour()), pair.submit(wrong, *arguments)
    with pytest.raises(error) as caught:
        failing.result(timeout=60)
    assert sentence in str(caught.value)
    assert beside.result(timeout=60) > 0
    two_at_once(pair)


def test_an_exception_in_a_job_reaches_its_caller(single: LocalEngine) -> None:
    first = single.submit(os.getpid).result(timeout=60)
    with pytest.raises(ValueError, match="invalid literal"):
        single.submit(int, "x").result(timeout=60)

    def slow_peer() -> None:
        raise TimeoutError("of my own")

    with pytest.raises(TimeoutError, match="of my own"):
        single.submit(slow_peer).result(timeout=60)
    assert single.submit(os.getpid).result(timeout=60) == first  # the worker and its cached data are reused


def finished_in_order(jobs: dict[str, Future[Any]]) -> list[str]:
    order: list[str] = []
    for name, job in jobs.items():
        job.add_done_callback(lambda _, name=name: order.append(name))
    wait(jobs.values(), timeout=60)
    end = time.monotonic() + 60
    while len(order) < len(jobs) and time.monotonic() < end:
        time.sleep(0.01)  # a waiting thread may go on before the job's callbacks have run
    return order


def test_urgent_jobs_run_before_queued_jobs(single: LocalEngine) -> None:
    with busy(single) as running:
        jobs: dict[str, Future[Any]] = {"running": running}
        jobs |= {name: single.submit(time.sleep, 0) for name in ("queued 1", "queued 2")}
        jobs |= {name: single.submit_urgent(time.sleep, 0) for name in ("urgent 1", "urgent 2")}
    assert finished_in_order(jobs) == ["running", "urgent 1", "urgent 2", "queued 1", "queued 2"]


def test_a_queued_job_can_be_cancelled(single: LocalEngine, tmp_path: Path) -> None:
    with busy(single) as running:
        queued, after = single.submit(os.mkdir, str(tmp_path / "made")), single.submit(len, "abc")
        assert queued.cancel()
    assert running.result(timeout=60) > 0 and after.result(timeout=60) == 3
    assert not (tmp_path / "made").exists()


def test_closing_ends_every_job_at_once() -> None:
    engine = LocalEngine(1)
    running = engine.submit(time.sleep, 60)
    queued = [engine.submit(len, "abc") for _ in range(3)]
    while not running.running():
        time.sleep(0.01)
    start = time.monotonic()
    engine.close()
    engine.close()  # closing twice is allowed
    with pytest.raises(Cancelled, match="was stopped"):
        running.result(timeout=30)
    assert not wait(queued, timeout=30).not_done
    assert all(job.cancelled() for job in queued)
    assert time.monotonic() - start < 30  # the job would take 60 s
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(len, "abc")


def test_closing_while_a_job_begins_starts_no_new_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = LocalEngine(1)
    assert engine.submit(len, "abc").result() == 3
    slot = type(engine._slots[0])
    memory = slot._memory

    def close_first(self: Any) -> int:
        monkeypatch.setattr(slot, "_memory", memory)
        resident: int = memory(self)
        engine.close()
        return resident

    monkeypatch.setattr(slot, "_memory", close_first)
    with pytest.raises(Cancelled, match="was stopped"):
        engine.submit(time.sleep, 60).result(timeout=30)


def killed(once: Path) -> Callable[[], int]:
    """A job that kills its worker, the first time or always."""

    def work() -> int:
        first = not once.exists()
        once.touch()
        if first or once.name == "always":
            os.kill(os.getpid(), 9)
        return os.getpid()

    return work


@pytest.mark.skipif(sys.platform == "win32", reason="no signals there")
def test_a_job_is_repeated_if_its_worker_is_killed(tmp_path: Path) -> None:
    with LocalEngine(1, writable=tmp_path) as engine:
        assert engine.submit(killed(tmp_path / "once")).result(timeout=60) > 0
        with pytest.raises(WorkerCrashed, match="worker process crashed"):
            engine.submit(killed(tmp_path / "always")).result(timeout=60)
        idle = engine.submit(os.getpid).result(timeout=60)
        os.kill(idle, 9)
        assert engine.submit(os.getpid).result(timeout=60) != idle


ENGINE = """
import os, time
from qviz.engine import LocalEngine
engine = LocalEngine(2)
shared = engine.share(b"weights", "digest").path
while len(workers := {engine.submit(os.getpid).result() for _ in range(8)}) < 2:
    pass
print(shared, *workers, flush=True)
time.sleep(600)
"""


def test_a_killed_engine_leaves_no_workers_and_files() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ENGINE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    shared, *workers = parent.stdout.readline().split()
    running = [psutil.Process(int(worker)) for worker in workers]
    assert Path(shared).exists()
    parent.kill()
    parent.wait(timeout=60)
    assert psutil.wait_procs(running, timeout=60)[1] == []
    assert not Path(shared).parent.exists()


def test_warm_up_runs_in_each_worker_before_its_first_job() -> None:
    def warm_up() -> None:
        os.environ["WARM"] = "yes"

    with LocalEngine(2, warm_up=warm_up) as engine:
        assert [engine.submit(os.getenv, "WARM").result(timeout=30) for _ in range(4)] == ["yes"] * 4
    assert "WARM" not in os.environ


def test_unused_shared_files_over_the_limit_are_deleted(tmp_path: Path) -> None:
    shared = SharedFiles(tmp_path, max_bytes=2_500)
    blob = shared.share(bytes(1_000), "z")
    for name in "abc":
        shared.share(bytes(1_000), name)
    assert blob.read() == bytes(1_000)  # over the limit, but still in use
    assert sorted(path.name.split(".")[0] for path in tmp_path.iterdir()) == ["b", "c", "z"]
    assert shared.share(bytes(1_000), "z") == blob
    del blob
    assert shared.share(bytes(1_000), "a").read() == bytes(1_000)  # a deleted file is written again
    large = shared.share(bytes(9_000), "larger than the bound")
    assert list(tmp_path.iterdir()) == [large.path]


def test_shared_bytes_are_written_once_into_a_private_folder() -> None:
    data = b"weights" * 1000
    with LocalEngine(1) as engine:
        first = engine.share(data, digest_of(data))
        written = first.path.stat().st_mtime_ns
        assert engine.share(data, digest_of(data)) == first
        assert first.path.stat().st_mtime_ns == written
        assert stat.S_IMODE(first.path.parent.stat().st_mode) == 0o700
        assert list(first.path.parent.iterdir()) == [first.path]  # no partial file is left
        assert first.path.name.startswith(digest_of(data))
        assert engine.submit(Blob.read, first).result(timeout=30) == data
    assert not first.path.parent.exists()


def keep(megabytes: int) -> Callable[[], int]:
    """A job that leaves that many MB allocated in its process and returns the process id."""

    def work() -> int:
        import builtins

        builtins.ballast = bytearray(b"x") * (megabytes << 20)  # type: ignore[attr-defined]
        return os.getpid()

    return work


def test_a_worker_over_its_memory_limit_is_replaced_before_the_next_job() -> None:
    with LocalEngine(1, memory_limit=1 << 30) as running:
        first = running.submit(keep(50)).result(timeout=60)
        assert running.submit(os.getpid).result(timeout=60) == first  # below the limit: the worker is reused
        full = running.submit(keep(700)).result(timeout=60)
        assert full == first
        assert running.submit(os.getpid).result(timeout=60) != full


def test_what_only_linux_has_is_in_two_modules_and_elsewhere_sentences_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = re.compile(r"^\s*(?:import|from) (?:ctypes|resource|fcntl|prctl)\b|[\"']/proc/", re.M)
    files = [path for path in (ROOT / "qviz").rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))]
    names = sorted(path.relative_to(ROOT).as_posix() for path in files)
    assert names == ["qviz/engine/memory.py", "qviz/engine/sandbox.py"]
    assert memory.memory_limit_sentence().startswith("hard")
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert sandbox_sentence().startswith("none: ")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: (_ for _ in ()).throw(OSError("no glibc")))
    assert memory.memory_limit_sentence().startswith("watched: a worker beyond the limit is ended")
    memory.trim_malloc()
    memory.free_closed_sessions()
