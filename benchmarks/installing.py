"""Install qviz in empty virtual environments outside the clone: size in MB, seconds, and what works in each.

    .venv/bin/python -m benchmarks installing [base,sdist,onnx,heic,micro,cluster,build,all] [--python PYTHON]

This builds the wheel and the sdist of the last commit, installs each combination of optional parts with pip, and runs
the same tasks on the demo's files in each environment. If a task fails, the last line of its error is printed. It needs
some GB in the folder of temporary files and a few minutes, and is not part of `python -m benchmarks` without names.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "qviz" / "ui" / "demo" / "files"
KINDS = ("base", "sdist", "onnx", "heic", "micro", "cluster", "build", "all")
BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, f'build_{sys.argv[1]}')(sys.argv[2]))"
HEIC = "import pillow_heif, PIL.Image as I; pillow_heif.register_heif_opener(); I.open('red.jpg').save('red.heic')"
NO_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
PAIR = ("squares_float32.tflite", "squares_int8.tflite")
TIMEOUT = 900


def built(kind: str, folder: Path) -> Path:
    """The wheel or the sdist of the last commit."""
    source = folder / f"source_{kind}"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    call = [sys.executable, "-c", BUILD, kind, str(folder)]
    printed = subprocess.run(call, cwd=source, check=True, capture_output=True, text=True).stdout
    return folder / printed.splitlines()[-1]


def write_files(folder: Path) -> None:
    """Write the files that the tasks need: the demo's files, and one network as .onnx and as .tflite."""
    from tests.features.settings.test_readings import head_file, strong
    from tests.test_onnx_model import onnx_file

    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    shutil.copy(folder / "images" / "s00.jpg", folder / "red.jpg")
    (folder / "net.onnx").write_bytes(onnx_file(strong(corners=True), names="{0: 'a', 1: 'b', 2: 'c'}", task="detect"))
    (folder / "net.tflite").write_bytes(head_file(strong(corners=True)))


class Environment:
    """A virtual environment and a folder to work in."""

    def __init__(self, folder: Path, interpreter: str) -> None:
        self.folder, self.work = folder, folder / "work"
        subprocess.run([interpreter, "-m", "venv", str(folder)], check=True)
        self.python = str(folder / "bin" / "python")
        write_files(self.work)

    def install(self, what: str) -> float:
        """Install with pip; returns the duration in seconds."""
        start = time.perf_counter()
        subprocess.run([self.python, "-m", "pip", "install", "--quiet", what], check=True)
        return time.perf_counter() - start

    def megabytes(self) -> float:
        (site,) = self.folder.glob("lib/python*/site-packages")
        files = (path for path in site.rglob("*") if path.is_file())
        sizes = (path.stat().st_size for path in files if path.relative_to(site).parts[0] not in ("pip", "setuptools"))
        return sum(sizes) / 1e6

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the working folder."""
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        variables |= {"QVIZ_CACHE": str(self.folder / "cache"), "QVIZ_DATA": str(self.folder / "data")}
        call = [self.python, "-m", "qviz", *words]
        return subprocess.run(call, cwd=self.work, env=variables, capture_output=True, text=True, timeout=TIMEOUT)

    def qviz(self, *words: str) -> str:
        """Run qviz; returns `yes`, or the exit status and the last line of the error."""
        ended = self.run(*words)
        return "yes" if ended.returncode == 0 else last_line(ended)

    def python_can(self, code: str) -> bool:
        return subprocess.run([self.python, "-c", code], cwd=self.work, capture_output=True).returncode == 0


def last_line(ended: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in ended.stderr.splitlines() if line.strip()] or ["(nothing)"]
    return f"status {ended.returncode}: {'TRACEBACK ' if 'Traceback' in ended.stderr else ''}{lines[-1]}"


def micro(environment: Environment) -> str:
    """`yes` if TFLite Micro ran the int8 file, else the reason that qviz gives."""
    ended = environment.run("backends", PAIR[1], "--images", "images", "--on", "builtin,micro", "--json")
    if ended.returncode:
        return last_line(ended)
    row = next(row for row in json.loads(ended.stdout)["backends"] if row["name"] == "micro")
    return "yes" if row["available"] else row["reason"]


def heic(environment: Environment) -> str:
    if not environment.python_can(HEIC):
        (environment.work / "red.heic").write_bytes(NO_HEIC)
    return environment.qviz("compare", *PAIR, "--images", "red.heic")


@contextmanager
def _dask(environment: Environment) -> Iterator[str]:
    """The address of a scheduler with two workers. If Dask is not installed, nothing listens at the address."""
    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    if not environment.python_can("import distributed"):
        yield address
        return
    dask = [environment.python, "-m", "dask"]
    calls = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    calls += [[*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"]] * 2
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": environment.work}
    running = [subprocess.Popen(call, **quiet) for call in calls]  # type: ignore[call-overload]
    try:
        yield address
    finally:
        for process in running:
            process.terminate()
            process.wait(20)


def cluster(environment: Environment) -> str:
    with _dask(environment) as address:
        return environment.qviz("compare", *PAIR, "--images", "images", "--workers", address, "--no-cache")


def dashboard(environment: Environment) -> str:
    """Whether the dashboard starts and answers."""
    port = _free_port()
    call = [environment.python, "-m", "qviz", "app", "--port", str(port)]
    variables = os.environ | {"QVIZ_DATA": str(environment.folder / "data"), "STREAMLIT_SERVER_HEADLESS": "true"}
    server = subprocess.Popen(
        call, cwd=environment.work, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as answer:
                    return "yes" if answer.status == 200 else str(answer.status)
            except OSError:
                time.sleep(0.3)
        return "no answer within 60 s"
    finally:
        server.terminate()
        server.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ANNOTATED = ("--dataset", "annotations.json", "--dataset-images", "images")
TASKS: dict[str, Callable[[Environment], str]] = {
    "doctor": lambda e: e.qviz("doctor"),
    "compare": lambda e: e.qviz("compare", *PAIR, "--images", "images"),
    "evaluate": lambda e: e.qviz("evaluate", *PAIR, *ANNOTATED),
    "diagnose": lambda e: e.qviz("diagnose", *PAIR, "--images", "images/s00.jpg", "images/s01.jpg"),
    "report": lambda e: e.qviz("report", *PAIR, "--images", "images", "-o", "report.html"),
    "dashboard": dashboard,
    "quantize": lambda e: e.qviz(
        "quantize", PAIR[0], "--recipe", "int8", "--calibration", "images", "-o", "new.tflite"
    ),
    "ONNX reference": lambda e: e.qviz("compare", "net.onnx", "net.tflite", "--images", "images"),
    "TFLite Micro": micro,
    "HEIC": heic,
    "Dask": cluster,
}


def measure(kind: str, distribution: Path, folder: Path, interpreter: str) -> None:
    environment = Environment(folder / kind, interpreter)
    extra = "" if kind in ("base", "sdist") else f"[{kind}]"
    seconds = environment.install(f"{distribution}{extra}")
    print(f"\n{kind}: {environment.megabytes():,.0f} MB installed in {seconds:.0f} s", flush=True)
    for name, task in TASKS.items():
        print(f"  {name:15} {task(environment)}", flush=True)
    shutil.rmtree(folder / kind)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="?", default=",".join(KINDS))
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environments")
    words = [word for word in sys.argv[1:] if word != "installing"]
    args = parser.parse_args(words)
    assert re.fullmatch(r"[a-z,]+", args.kinds), "a list of extras"
    with tempfile.TemporaryDirectory(prefix="qviz_installing_") as name:
        folder = Path(name)
        distributions = {kind: built(kind, folder) for kind in ("wheel", "sdist")}
        for kind, path in distributions.items():
            print(f"{kind}: {path.name}, {path.stat().st_size / 1e6:.2f} MB")
        for kind in args.kinds.split(","):
            measure(kind, distributions["sdist" if kind == "sdist" else "wheel"], folder, args.python)


if __name__ == "__main__":
    main()
