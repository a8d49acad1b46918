"""What a hostile model can still reach once it controls its worker: the claims of docs/security.md, one by one.

The job below does what such a model would do. The same job in a process without a sandbox succeeds in all of it, so
that a refusal is the work of the sandbox. Where the kernel has no Landlock or seccomp, tests are skipped and say so.
"""

from __future__ import annotations

import copyreg
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loky.process_executor import ProcessPoolExecutor

from qviz.engine import LocalEngine, sandbox_sentence
from qviz.engine.answers import read_answer
from qviz.errors import ModelError, WorkerCrashed
from qviz.limits import limits
from qviz.structures import Detections, digest_of
from tests.conftest import ROOT

COMPLETE = "files are limited" in sandbox_sentence() and "no network" in sandbox_sentence()
needs_kernel = pytest.mark.skipif(not COMPLETE, reason=f"this kernel lacks Landlock or seccomp: {sandbox_sentence()}")

REFUSED = {
    "connect by TCP": "no network",
    "wait for connections": "no network",
    "send by UDP": "no network",
    "ask a service of the machine": "no network",
    "read a file in the home folder": "files",
    "list the home folder": "files",
    "read an image of a project": "files",
    "list the temporary folder of the machine": "files",
    "write in the home folder": "files",
    "write in the cache": "files",
    "write beside its own folder": "files",
    "change a model of another visitor": "files",
    "list the models of other visitors": "files",
    "let others read a file": "files",
    "put a link into its folder": "files",
    "put a pipe into its folder": "files",
    "signal the server": "signals",
    "end another process": "signals",
    "limit the server's resources": "signals",
    "trace another process": "signals",
    "read the environment of the server": "signals",
    "fork": "processes",
    "start a program": "processes",
    "have files deleted by loky": "processes",
}
"""What a worker cannot do -> the part of `sandbox_sentence` that says so."""
ALLOWED = {
    "write in its own folder",
    "read a model whose sha256 it knows",
    "read its own environment",
    "start a thread",
}


@dataclass(frozen=True)
class Targets:
    """What the hostile job is aimed at; all of it exists and belongs to this account."""

    home: Path
    image: Path
    cache: Path
    model: Path
    victim: int
    port: int
    service: Path
    tracker: int


def attempts(aim: Targets) -> dict[str, Callable[[], object]]:
    """Name of an attempt -> a function that raises OSError if the kernel refuses it."""
    import resource

    libc = ctypes.CDLL(None, use_errno=True)
    folder, server = Path(tempfile.gettempdir()), os.getppid()

    def trace() -> None:
        if libc.ptrace(16, aim.victim, 0, 0):  # PTRACE_ATTACH
            raise OSError(ctypes.get_errno(), "ptrace")
        os.waitpid(aim.victim, 0x40000000)  # __WALL
        libc.ptrace(17, aim.victim, 0, 0)  # PTRACE_DETACH

    def fork() -> None:
        if (child := os.fork()) == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def tracker() -> None:
        pipes = [
            path for path in Path("/proc/self/fd").iterdir() if path.exists() and path.stat().st_ino == aim.tracker
        ]
        if not pipes:
            raise PermissionError("no pipe leads to it")

    def thread() -> None:
        threading.Thread(target=len, args=("",)).start()

    def link() -> None:
        (folder / "link").symlink_to(aim.image)

    def service() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(aim.service))

    udp = lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", aim.port))  # noqa: E731
    return {
        "connect by TCP": lambda: socket.create_connection(("127.0.0.1", aim.port), timeout=5).close(),
        "wait for connections": lambda: socket.create_server(("127.0.0.1", 0)).close(),
        "send by UDP": udp,
        "ask a service of the machine": service,
        "read a file in the home folder": (aim.home / "key").read_bytes,
        "list the home folder": lambda: list(aim.home.iterdir()),
        "read an image of a project": aim.image.read_bytes,
        "list the temporary folder of the machine": lambda: list(aim.home.parent.iterdir()),
        "write in the home folder": lambda: (aim.home / "made").write_bytes(b"x"),
        "write in the cache": lambda: (aim.cache / "made").write_bytes(b"x"),
        "write beside its own folder": lambda: (folder.parent / "beside").write_bytes(b"x"),
        "change a model of another visitor": lambda: aim.model.write_bytes(aim.model.read_bytes()),
        "list the models of other visitors": lambda: list(aim.model.parent.iterdir()),
        "let others read a file": lambda: aim.image.chmod(0o644),
        "put a link into its folder": link,
        "put a pipe into its folder": lambda: os.mkfifo(folder / "pipe"),
        "signal the server": lambda: os.kill(server, 0),
        "limit the server's resources": lambda: resource.prlimit(server, resource.RLIMIT_CPU),
        "trace another process": trace,
        "end another process": lambda: os.kill(aim.victim, 15),
        "read the environment of the server": Path(f"/proc/{server}/environ").read_bytes,
        "fork": fork,
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "have files deleted by loky": tracker,
        "write in its own folder": lambda: (folder / "made").write_bytes(b"x"),
        "read a model whose sha256 it knows": aim.model.read_bytes,
        "read its own environment": Path("/proc/self/environ").read_bytes,
        "start a thread": thread,
    }


def hostile(aim: Targets) -> dict[str, str]:
    """Name of an attempt -> the error with which the kernel refused it, or an empty text."""
    errors = {}
    for name, attempt in attempts(aim).items():
        try:
            attempt()
            errors[name] = ""
        except OSError as error:
            errors[name] = type(error).__name__
    return errors


@pytest.fixture(scope="module")
def worker() -> Iterator[LocalEngine]:
    with LocalEngine(1) as engine:
        yield engine


@pytest.fixture(scope="module")
def outcomes(
    worker: LocalEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """(what the kernel refused to a worker, what it refused to a process without a sandbox)."""
    from loky.backend import resource_tracker

    folder = tmp_path_factory.mktemp("hostile")
    home, image, cache = folder / "home", folder / "data" / "image.png", folder / "cache"
    for path in (home, image.parent, cache):
        path.mkdir()
    (home / "key").write_bytes(b"private")
    image.write_bytes(b"of another project")
    address = Path(tempfile.mkdtemp()) / "s"  # a socket's path must be short
    victims = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as service:
        service.bind(str(address))
        service.listen()
        model = worker.share(b"of another visitor", digest_of(b"of another visitor"))
        tracker = os.fstat(resource_tracker.getfd()).st_ino
        aims = [
            Targets(home, image, cache, model.path, victim.pid, server.getsockname()[1], address, tracker)
            for victim in victims
        ]
        with ProcessPoolExecutor(1, env={"TMPDIR": str(cache)}) as plain:
            without = plain.submit(hostile, aims[0]).result(timeout=60)
            plain.shutdown(kill_workers=True)
        yield worker.submit(hostile, aims[1]).result(timeout=60), without
    for victim in victims:
        victim.kill()
        victim.wait()


@needs_kernel
def test_without_a_sandbox_all_of_it_succeeds(outcomes: tuple[dict[str, str], dict[str, str]]) -> None:
    assert outcomes[1] == dict.fromkeys([*REFUSED, *ALLOWED], "")


@needs_kernel
@pytest.mark.parametrize("attempt", REFUSED)
def test_a_worker_cannot(attempt: str, outcomes: tuple[dict[str, str], dict[str, str]]) -> None:
    assert outcomes[0][attempt] == "PermissionError"
    assert REFUSED[attempt] in sandbox_sentence()


@needs_kernel
@pytest.mark.parametrize("attempt", sorted(ALLOWED))
def test_a_worker_can(attempt: str, outcomes: tuple[dict[str, str], dict[str, str]]) -> None:
    assert outcomes[0][attempt] == ""


def state_of_threads() -> tuple[set[str], set[str], int, dict[str, bool]]:
    """In a worker: (confinement of each thread, where it prints, its memory limit, what it reads of the system)."""
    import resource

    lines = [path.read_text().splitlines() for path in Path("/proc/self/task").glob("*/status")]
    confined = {line for status in lines for line in status if line.startswith(("NoNewPrivs:", "Seccomp:"))}
    prints = {str(Path(f"/proc/self/fd/{number}").readlink()) for number in (1, 2)}
    reads = {
        name: os.access(name, os.R_OK) and _readable(name) for name in ("/etc/passwd", "/etc/shadow", "/etc/hosts")
    }
    return confined, prints, resource.getrlimit(resource.RLIMIT_DATA)[0], reads


def _readable(name: str) -> bool:
    try:
        return bool(Path(name).read_bytes())
    except PermissionError:
        return False


@needs_kernel
def test_every_thread_of_a_worker_is_confined_and_its_memory_and_output_too(worker: LocalEngine) -> None:
    confined, prints, memory, reads = worker.submit(state_of_threads).result(timeout=60)
    assert confined == {"NoNewPrivs:\t1", "Seccomp:\t2"}
    assert prints == {"/dev/null"}
    assert memory == 2 * limits().job_memory_mb << 20
    assert reads == {"/etc/passwd": True, "/etc/shadow": False, "/etc/hosts": False}


DEGRADED = """
import sys
from pathlib import Path
from qviz.engine import sandbox
sandbox._landlock_version, sandbox._has_seccomp = int, bool
sandbox.enter_sandbox([Path(sys.argv[1])])
assert Path("/etc/hosts").read_text() and Path(sandbox.tempfile.gettempdir()) == Path(sys.argv[1])
print(sandbox.sandbox_sentence())
"""


def test_without_kernel_support_a_worker_starts_and_the_doctor_says_what_is_missing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DEGRADED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("none: this system has neither Landlock nor seccomp") and not done.stderr


@needs_kernel
def test_a_worker_gets_a_path_that_its_job_needs(worker: LocalEngine, tmp_path: Path) -> None:
    clip, other = tmp_path / "clip", tmp_path / "other"
    for path in (clip, other):
        path.write_bytes(b"frames")
    with pytest.raises(PermissionError):
        worker.submit(clip.read_bytes).result(timeout=60)
    worker.allow_reading(clip)
    first = worker.submit(os.getpid).result(timeout=60)
    assert worker.submit(clip.read_bytes).result(timeout=60) == b"frames"
    with pytest.raises(PermissionError):
        worker.submit(other.read_bytes).result(timeout=60)
    worker.allow_reading(clip)
    assert worker.submit(os.getpid).result(timeout=60) == first  # nothing new, so the worker stays


class Evil:
    """Unpickled plainly, it makes a folder."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def answer_with(data: bytes) -> None:
    """In a worker: write bytes into loky's pipe to the server, in place of an answer."""
    frame: Any = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    frame.f_locals["result_queue"]._writer.send_bytes(data)


def test_code_in_an_answer_does_not_run_in_the_server(worker: LocalEngine, tmp_path: Path) -> None:
    data = pickle.dumps(Evil(os.mkdir, str(tmp_path / "made")))
    with pytest.raises(WorkerCrashed):
        worker.submit(answer_with, data).result(timeout=60)
    assert not (tmp_path / "made").exists()
    assert worker.submit(len, "abc").result(timeout=60) == 3  # a new worker goes on
    pickle.loads(data)
    assert (tmp_path / "made").exists()


NESTED = b"\x80\x04\x8c\x11qviz.engine.local\x8c\x09os.system\x93\x8c\x04true\x85R."
"""Pickled by hand: a call of `os.system`, reached through a module of qviz that imports os."""


@pytest.mark.parametrize(
    "data",
    [
        NESTED,
        pickle.dumps(Evil(eval, "1")),
        pickle.dumps(Evil(getattr, "", "upper")),
        pickle.dumps(Evil(digest_of, b"")),  # a function of qviz
        pickle.dumps(Evil(LocalEngine, 1)),  # a class of qviz that is no data
        pickle.dumps(subprocess.Popen),
    ],
)
def test_an_answer_names_nothing_but_data(data: bytes) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which is no data"):
        read_answer(data)


def test_results_errors_and_arrays_are_answers() -> None:
    boxes = Detections.of(np.array([[0, 0, 1, 1.0]]), np.array([0.5]), np.array([1]))
    for error in (ModelError, ValueError):  # as `with_readable_errors` does: Dask lets tblib pickle errors
        copyreg.dispatch_table.pop(error, None)
    answer = read_answer(pickle.dumps((boxes, {"a": {1.5}}, Path("x"), ModelError("is damaged"), ValueError("x"))))
    np.testing.assert_array_equal(answer[0].boxes, boxes.boxes)
    assert answer[1:3] == ({"a": {1.5}}, Path("x"))
    assert [str(error) for error in answer[3:]] == ["is damaged", "x"]


def refuse() -> None:
    import zlib

    raise zlib.error("of another library")


def test_an_error_of_another_library_arrives_with_its_text(worker: LocalEngine) -> None:
    with pytest.raises(RuntimeError, match=r"zlib\.error: of another library"):
        worker.submit(refuse).result(timeout=60)
