"""LiteRT's GPU delegate, in a separate process with the limits of a worker (`qviz.tflite.gpu`).

The delegate computes through Vulkan. The driver is that of a graphics card or, without one, SwiftShader, a software
driver that comes with Chromium and runs the delegate's shaders on the CPU. The delegate computes in float32 here;
phones use float16 by default.
"""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from qviz.engine import resident_memory
from qviz.errors import WorkerCrashed, WorkerError, WorkerOutOfMemory, WorkerTimeout
from qviz.features.backends.recording import HEADER, MAX_ARRAY
from qviz.limits import limits
from qviz.structures import Graph

SYSTEM_DRIVERS = ("/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d")
NO_GRAPHICS_CARD = re.compile(r"lvp_|lavapipe|swiftshader", re.IGNORECASE)
"""Matches software drivers of the system, which are not used, because the delegate refuses Mesa's."""
SWIFTSHADER = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/chromium/current/usr/lib/chromium-browser",
)
PLAYWRIGHT = "~/.cache/ms-playwright"
POLL_SECONDS = 0.1
MAX_LINE = 4096
"""Maximum number of characters of a line that the process prints."""
MAX_LOG = 1 << 20
"""Maximum number of bytes that are read from the runtime's log."""
ADAPTER = re.compile(r"Selected adapter: ([^,\n]{1,100})")
REFUSED_OPERATOR = re.compile(r"^(?:CUSTOM )?([A-Z][\w.]{1,60}): (.{1,300})$")
MISSING = (
    "no Vulkan driver is installed: install a graphics driver, or Chromium, whose SwiftShader computes on the CPU"
    " (Debian: apt install chromium)"
)


@dataclass(frozen=True, slots=True)
class Driver:
    """A Vulkan driver. environment: variables that must be set before the process starts."""

    name: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RefusedOperator:
    """An operator that runs on the CPU instead of the GPU. order: its index; None if the log does not identify it."""

    op_type: str
    order: int | None
    reason: str


def drivers(folder: Path) -> Iterator[Driver]:
    """The Vulkan drivers of this machine, the preferred one first. Files that they need are written into `folder`."""
    if names := os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES"):
        yield Driver(names[:100], {})
        return
    system = [path for name in SYSTEM_DRIVERS for path in sorted(Path(name).glob("*.json"))]
    if cards := [path for path in system if not NO_GRAPHICS_CARD.search(path.name)]:
        yield Driver("the system's driver", {"VK_ICD_FILENAMES": os.pathsep.join(map(str, cards))})
    playwright = sorted(Path(PLAYWRIGHT).expanduser().glob("chromium-*/chrome-linux*"), reverse=True)
    for home in [*map(Path, SWIFTSHADER), *playwright]:
        library = home / "libvk_swiftshader.so"
        if library.is_file() and (home / "libvulkan.so.1").is_file():
            description = folder / "swiftshader.json"
            icd = {"library_path": str(library), "api_version": "1.1.0"}
            description.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": icd}))
            paths = os.pathsep.join(filter(None, (str(home), os.environ.get("LD_LIBRARY_PATH"))))
            yield Driver(f"SwiftShader of {home}", {"VK_ICD_FILENAMES": str(description), "LD_LIBRARY_PATH": paths})
            return


class GpuNetwork:
    """One model on the GPU delegate; a context manager, used by one thread.

    Attributes:
        adapter: The name of the graphics adapter, e.g. `SwiftShader Device (Subzero)`.
        refused: Operators that run on the CPU.

    Raises:
        WorkerError: There is no driver, or the process died or exceeded a limit; the sentence gives the reason.
    """

    def __init__(self, model: Path, graph: Graph, seconds: float | None = None, memory: int | None = None) -> None:
        self._seconds = limits().job_seconds if seconds is None else seconds
        self._memory = limits().job_memory_mb << 20 if memory is None else memory
        self._folder = tempfile.TemporaryDirectory(prefix="qviz-gpu-")
        self._process: subprocess.Popen[str] | None = None
        self._outputs = len(graph.outputs)
        reasons = []
        try:
            for driver in drivers(Path(self._folder.name)):
                try:
                    self._start(model, driver)
                    break
                except WorkerError as error:
                    self._stop()
                    reasons.append(f"{driver.name}: {error}")
            else:
                raise WorkerError("; ".join(reasons) or MISSING)
        except BaseException:
            self.close()
            raise
        log = self._log()
        match = ADAPTER.search(log)
        self.adapter = match[1] if match else "unknown"
        self.refused = refused_operators(log, graph)

    def run(self, values: np.ndarray) -> tuple[list[np.ndarray], float]:
        """(outputs in the file's order, duration in milliseconds). Raises WorkerError."""
        folder, process = Path(self._folder.name), self._process
        assert process is not None and process.stdin is not None
        np.save(folder / "input.npy", values, allow_pickle=False)
        try:
            print("run", file=process.stdin, flush=True)
        except OSError:
            raise self._died() from None
        answer = self._answer()
        arrays = [self._output(folder / f"output-{number}.npy") for number in range(self._outputs)]
        return arrays, float(answer["ms"])

    def _output(self, path: Path) -> np.ndarray:
        """Read an array that the process wrote. It is not trusted: a hostile model may control the process.

        Raises WorkerError.
        """
        if path.is_symlink() or path.stat().st_size > MAX_ARRAY + HEADER:
            raise WorkerError(f"the GPU process wrote more than {MAX_ARRAY >> 20} MB for one output.")
        try:
            values: np.ndarray = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError, SyntaxError) as error:
            raise WorkerError("the GPU process wrote an output that is no array.") from error
        return values

    def close(self) -> None:
        """End the process."""
        self._stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, model: Path, driver: Driver) -> None:
        home = Path(__file__).resolve().parents[3]
        paths = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
        with (Path(self._folder.name) / "log").open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "qviz.tflite.gpu", str(model.resolve()), self._folder.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder.name,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **driver.environment},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_pass_on, args=(self._process.stdout, self._lines), daemon=True).start()
        self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._line()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"the GPU delegate refuses the model ({_cause(self._log()) or answer['error']}).")
        return answer

    def _line(self) -> str:
        """The next line that the process prints. A process that exceeds a limit is stopped. Raises WorkerError."""
        assert self._process is not None
        end = time.monotonic() + self._seconds
        while True:
            try:
                return self._lines.get(timeout=min(POLL_SECONDS, self._seconds))
            except queue.Empty:
                if resident_memory(self._process.pid) > self._memory:
                    self._process.kill()
                    raise WorkerOutOfMemory(
                        f"the GPU delegate took more than {self._memory / 2**30:.3g} GB of memory and was stopped."
                    ) from None
                if time.monotonic() > end:
                    raise WorkerTimeout(f"the GPU delegate did not answer within {self._seconds:g} s.") from None

    def _died(self) -> WorkerCrashed:
        status = self._process.wait(timeout=self._seconds) if self._process is not None else None
        return WorkerCrashed(f"the GPU process died (status {status}); nothing else is affected.")

    def _log(self) -> str:
        with (Path(self._folder.name) / "log").open("rb") as file:
            return file.read(MAX_LOG).decode(errors="replace")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None


def _pass_on(stream: IO[str], lines: queue.Queue[str]) -> None:
    """Put the lines of a stream into a queue, and an empty line at the end of the stream."""
    try:
        while line := stream.readline(MAX_LINE):
            lines.put(line)
    except ValueError:  # the stream was closed meanwhile
        pass
    lines.put("")


def _cause(log: str) -> str:
    """The line of the log that says why the delegate could not start."""
    lines = [line.strip() for line in log.splitlines() if "plugin" not in line]
    for sign in ("Couldn't load Vulkan", "No adapters", "ERROR: "):
        for line in lines:
            if sign in line:
                return line.removeprefix("Warning: ").removeprefix("ERROR: ")[:200]
    return ""


def refused_operators(log: str, graph: Graph) -> tuple[RefusedOperator, ...]:
    """The operators that run on the CPU according to the delegate's log, in the order of the log."""
    lines = iter(log.splitlines())
    rows: list[RefusedOperator] = []
    for line in lines:
        if "not supported by GPU delegate" not in line:
            continue
        for row in lines:
            match = REFUSED_OPERATOR.match(row)
            if match is None:
                break
            rows.append(_refused(match[1], match[2], graph))
    return tuple(dict.fromkeys(rows))


def _refused(kind: str, reason: str, graph: Graph) -> RefusedOperator:
    """The operator that a line of the log is about, found by its output's name or as the only one of its kind."""
    ops = [op for op in graph.ops if op.kind == kind]
    text, _, name = reason.rpartition(" ")
    named = [op for op in ops if any(graph.tensors[index].name.split(";")[0] == name for index in op.outputs)]
    if len(named) == 1:
        return RefusedOperator(kind, named[0].order, text.strip())
    return RefusedOperator(kind, ops[0].order if len(ops) == 1 else None, reason if reason != kind else "no GPU kernel")
