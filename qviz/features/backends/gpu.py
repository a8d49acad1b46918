"""LiteRT's GPU delegate, in a process of its own with a time limit (`qviz.tflite.gpu`).

It computes through Vulkan, with the driver of a graphics card or else with SwiftShader, a software driver that comes
with Chromium and runs the delegate's own shaders on the CPU. It computes in float32 here; phones use float16 by
default.
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from qviz.errors import WorkerCrashed, WorkerError, WorkerTimeout
from qviz.limits import limits
from qviz.structures import Graph

SYSTEM_DRIVERS = ("/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d")
NO_GRAPHICS_CARD = re.compile(r"lvp_|lavapipe|swiftshader", re.IGNORECASE)
"""Names of the system's software drivers, which are not used; the delegate refuses Mesa's."""
SWIFTSHADER = (
    "/usr/lib/chromium",
    "/usr/lib/chromium-browser",
    "/usr/lib64/chromium-browser",
    "/opt/google/chrome",
    "/snap/chromium/current/usr/lib/chromium-browser",
)
PLAYWRIGHT = "~/.cache/ms-playwright"
MAX_LOG = 1 << 20
"""Maximum bytes that are read of the runtime's report."""
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
    """An operator that runs on the CPU instead. order: None if several operators may be meant."""

    op_type: str
    order: int | None
    reason: str


def drivers(folder: Path) -> Iterator[Driver]:
    """The Vulkan drivers of this machine, the best first; files that they need are written into `folder`."""
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
        WorkerError: There is no driver, or the process died or took too long; the sentence gives the reason.
    """

    def __init__(self, model: Path, graph: Graph, seconds: float | None = None) -> None:
        self._seconds = limits().job_seconds if seconds is None else seconds
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
        """(outputs in the file's order, milliseconds). Raises WorkerError."""
        folder, process = Path(self._folder.name), self._process
        assert process is not None and process.stdin is not None
        np.save(folder / "input.npy", values, allow_pickle=False)
        try:
            print("run", file=process.stdin, flush=True)
        except OSError:
            raise self._died() from None
        answer = self._answer()
        arrays = [np.load(folder / f"output-{number}.npy", allow_pickle=False) for number in range(self._outputs)]
        return arrays, float(answer["ms"])

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
                env={**os.environ, "PYTHONPATH": paths, **driver.environment},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=_pass_on, args=(self._process.stdout, self._lines), daemon=True).start()
        self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=self._seconds)
        except queue.Empty:
            raise WorkerTimeout(f"the GPU delegate did not answer within {self._seconds:g} s.") from None
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"the GPU delegate refuses the model ({_cause(self._log()) or answer['error']}).")
        return answer

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
    """Put the lines of a stream into a queue, and an empty one at its end."""
    try:
        for line in stream:
            lines.put(line)
    except ValueError:  # the stream was closed meanwhile
        pass
    lines.put("")


def _cause(log: str) -> str:
    """The line that says why the delegate could not start."""
    lines = [line.strip() for line in log.splitlines() if "plugin" not in line]
    for sign in ("Couldn't load Vulkan", "No adapters", "ERROR: "):
        for line in lines:
            if sign in line:
                return line.removeprefix("Warning: ").removeprefix("ERROR: ")[:200]
    return ""


def refused_operators(log: str, graph: Graph) -> tuple[RefusedOperator, ...]:
    """The operators that the delegate's report names as running on the CPU, in the order of the report."""
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
    """The operator that a line of the report means, by the output's name at the end or as the only one of its kind."""
    ops = [op for op in graph.ops if op.kind == kind]
    text, _, name = reason.rpartition(" ")
    named = [op for op in ops if any(graph.tensors[index].name.split(";")[0] == name for index in op.outputs)]
    if len(named) == 1:
        return RefusedOperator(kind, named[0].order, text.strip())
    return RefusedOperator(kind, ops[0].order if len(ops) == 1 else None, reason if reason != kind else "no GPU kernel")
