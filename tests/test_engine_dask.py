"""A real cluster on the loopback address: the same results as on one machine, and nothing hangs.

Jobs are defined inside the tests, so they are pickled by value.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("distributed")

from distributed import LocalCluster

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.engine import Blob, LocalEngine, importing
from qviz.engine.cluster import DaskEngine
from qviz.errors import ModelError, SettingsError, WorkerCrashed, WorkerTimeout
from qviz.features.accuracy import evaluate
from qviz.features.detection.models import LoadedModel
from qviz.progress import Advance, Progress
from qviz.session import Session
from qviz.structures import digest_of
from qviz.ui.demo import FOLDER
from tests.conftest import Sample

NAMES = ("astronaut.jpg", "berlin_street.jpg", "horses_nokota.jpg")
WAIT = 90


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as running:
        yield running


@pytest.fixture(scope="module")
def remote(cluster: LocalCluster) -> Iterator[DaskEngine]:
    with DaskEngine(cluster.scheduler_address, time_limit=20, warm_up=importing("qviz.detector")) as running:
        yield running


def test_results_equal_those_of_local_workers(
    remote: DaskEngine, sample: Sample, loaded: dict[str, LoadedModel], engine: LocalEngine
) -> None:
    names = ("float32", "int8_wrong_range")
    paths = [sample.images / name for name in NAMES]
    here = Session(*(loaded[name] for name in names), images=paths, engine=engine, cache=False).compare()
    there = Session(*(sample.models[name] for name in names), images=paths, engine=remote, cache=False).compare()
    assert there.to_json() == here.to_json()
    assert remote.workers == 2


def sizes() -> Callable[..., tuple[int, int, bytes]]:
    def work(blob: Blob, data: bytes) -> tuple[int, int, bytes]:
        return os.getpid(), os.getppid(), blob.read()[:3] + data[-3:]

    return work


def test_large_data_is_sent_to_the_cluster_only_once(cluster: LocalCluster, remote: DaskEngine) -> None:
    model, image = b"net" + bytes(500_000), bytes(200_000) + b"jpg"
    blob = remote.share(model, digest_of(model))
    assert blob.read() == model
    jobs = [remote.submit(sizes(), blob, image) for _ in range(6)]
    assert {job.result(timeout=WAIT)[2] for job in jobs} == {b"netjpg"}
    bytes_by_key = {key: state.nbytes for key, state in cluster.scheduler.tasks.items() if str(key).startswith("qviz-")}
    assert [len([key for key in bytes_by_key if digest_of(data) in str(key)]) for data in (model, image)] == [1, 1]
    workers = {process.pid for process in psutil.Process().children(recursive=True)}
    assert {job.result()[1] for job in jobs} <= workers  # a worker's child runs the job, not the worker


def refused() -> Callable[[], None]:
    def work() -> None:
        raise ModelError("has no image input.")

    return work


FAILING: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
    (os.abort, (), WorkerCrashed, "worker process crashed"),
    (time.sleep, (600,), WorkerTimeout, "took longer than 2 s"),
    (refused(), (), ModelError, "has no image input"),
    (int, ("x",), ValueError, "invalid literal"),
    (open, ("/nowhere/at/all",), FileNotFoundError, "nowhere"),  # not to be mistaken for a lost connection
]


@pytest.mark.parametrize(("wrong", "arguments", "error", "sentence"), FAILING)
def test_a_failing_job_costs_no_worker(
    cluster: LocalCluster, wrong: Any, arguments: tuple[Any, ...], error: type[Exception], sentence: str
) -> None:
    before = set(cluster.scheduler.workers)
    with DaskEngine(cluster.scheduler_address, time_limit=2) as engine:
        failing, beside = engine.submit(wrong, *arguments), engine.submit(len, "abc")
        with pytest.raises(error, match=sentence):
            failing.result(timeout=WAIT)
        assert beside.result(timeout=WAIT) == 3
        assert engine.submit_urgent(len, "abcd").result(timeout=WAIT) == 4
    assert set(cluster.scheduler.workers) == before


def test_queued_jobs_can_be_cancelled_and_closing_cancels_the_rest(cluster: LocalCluster, tmp_path: Path) -> None:
    engine = DaskEngine(cluster.scheduler_address)
    running = [engine.submit(time.sleep, 2) for _ in range(2)]
    queued = [engine.submit(os.mkdir, str(tmp_path / name)) for name in "abcdefgh"]
    assert queued[-1].cancel()
    engine.close()
    engine.close()  # closing twice is allowed
    assert not wait([*running, *queued], timeout=WAIT).not_done
    time.sleep(2.5)
    assert not (tmp_path / "h").exists()
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(len, "abc")


def test_figures_are_the_same_when_a_worker_is_lost_in_the_middle(remote: DaskEngine, engine: LocalEngine) -> None:
    """Its unfinished batches run again on the other worker. This is the last test of the cluster with two workers."""
    demo = read_coco(FOLDER / "annotations.json", FOLDER / "images")
    images = tuple(replace(image, id=100 * n + image.id) for n in range(1, 6) for image in demo.images)
    files = [FOLDER / f"squares_{name}.tflite" for name in ("float32", "int8")]
    killed: list[int] = []

    def kill(done: int, total: int) -> None:
        if not killed:
            assert done < total
            killed.append(next(iter(remote._client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    results = []
    for running, progress in ((remote, Advance(kill)), (engine, Progress())):
        models = Session(*files, engine=running, cache=False).models
        results.append(evaluate(Context(running, progress=progress), models, replace(demo, images=images)))
    there, here = (replace(result, images_per_second=0.0).to_json() for result in results)
    assert killed and there == here


# ---- processes of their own: `dask scheduler`, `dask worker` --------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Processes:
    """A scheduler and workers, started as a user starts them; `stop` ends only those."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, f"tcp://127.0.0.1:{free_port()}"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, before: str = "") -> subprocess.Popen[bytes]:
        code = f"{before}\nimport sys\nfrom dask.__main__ import main\nsys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{len(self.running)}.log").open("wb"),
        )
        self.running.append(process)
        return process

    def scheduler(self) -> subprocess.Popen[bytes]:
        port = self.address.rsplit(":", 1)[1]
        return self.start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")

    def worker(self, *more: str, before: str = "") -> subprocess.Popen[bytes]:
        alone = ("--no-nanny", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(self.folder))
        return self.start("worker", self.address, *alone, *more, before=before)

    def stop(self) -> None:
        for process in reversed(self.running):
            process.kill()
            process.wait(timeout=WAIT)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes_of_test = Processes(tmp_path)
    yield processes_of_test
    processes_of_test.stop()


def connect(address: str, **more: Any) -> DaskEngine:
    """Connects when all processes run; on a busy machine they start more slowly than the product's timeout."""
    end = time.monotonic() + WAIT
    while True:
        try:
            return DaskEngine(address, **more)
        except SettingsError as error:
            if time.monotonic() > end or not re.search("answers|no worker", str(error)):
                raise


def test_jobs_of_a_killed_worker_run_on_another(processes: Processes) -> None:
    processes.scheduler()
    first = processes.worker("--nthreads", "1")
    with connect(processes.address) as engine:
        data = b"model" * 10_000
        blob = engine.share(data, digest_of(data))
        assert engine.submit(sizes(), blob, bytes(100_000)).result(timeout=WAIT)[1] == first.pid
        jobs = [engine.submit(sizes(), blob, bytes([number]) * 100_000) for number in range(30)]
        second = processes.worker("--nthreads", "2")  # it joins later, and has two processes for its two threads
        first.send_signal(signal.SIGKILL)
        results = [job.result(timeout=WAIT) for job in jobs]
        assert [ending for *_, ending in results] == [b"mod" + bytes([number]) * 3 for number in range(30)]
        assert results[-1][1] == second.pid
    assert children_are_gone(first.pid)


def children_are_gone(parent: int) -> bool:
    """Waits until no child process of a killed worker is left, with time for a busy machine."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline", "ppid"])]
        if not any(f"/loky-{parent}-" in " ".join(line) for line in lines):
            return True
        time.sleep(0.2)
    return False


def test_loss_of_the_last_worker_is_an_error(processes: Processes) -> None:
    processes.scheduler()
    worker = processes.worker("--nthreads", "1")
    with connect(processes.address, alone_limit=2) as engine:
        assert engine.submit(len, "abc").result(timeout=WAIT) == 3
        jobs = [engine.submit(time.sleep, 30) for _ in range(2)]
        worker.send_signal(signal.SIGKILL)
        for job in jobs:
            with pytest.raises(WorkerCrashed, match=r"All workers of tcp://.* have left"):
                job.result(timeout=WAIT)


def test_loss_of_the_scheduler_is_an_error(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.engine.cluster.CONNECT_SECONDS", 4.0)  # Dask tries to reconnect for this long
    scheduler = processes.scheduler()
    processes.worker("--nthreads", "1")
    with connect(processes.address) as engine:
        assert engine.submit(len, "abc").result(timeout=WAIT) == 3
        job = engine.submit(time.sleep, 30)
        scheduler.send_signal(signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="was lost before the job finished"):
            job.result(timeout=WAIT)
        with pytest.raises(WorkerCrashed, match="was lost before the job finished"):
            engine.submit(len, "abc").result(timeout=WAIT)


WITHOUT_QVIZ = "import sys; sys.modules['qviz'] = None"
OTHER_QVIZ = "import qviz.engine.code as code; code._version = lambda package: 'older'"


@pytest.mark.parametrize(
    ("before", "sentence"),
    [(WITHOUT_QVIZ, "does not have qviz; install the same version"), (OTHER_QVIZ, "another version of qviz")],
)
def test_a_worker_with_other_code_is_refused(processes: Processes, before: str, sentence: str) -> None:
    processes.scheduler()
    processes.worker("--nthreads", "1", before=before)
    with pytest.raises(SettingsError, match=sentence):
        connect(processes.address).close()
