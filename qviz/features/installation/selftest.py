"""The self-test: run a tiny model with known outputs on every kind of kernels, and write to the folders that qviz uses.

The model runs in a worker process.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from qviz.engine import LocalEngine
from qviz.errors import QvizError
from qviz.store import user_folder
from qviz.tflite.runner import KERNELS, Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.tiny import tiny_input, tiny_model, tiny_output

JOB_SECONDS = 30.0
KERNEL_NAMES = tuple(name for name in KERNELS if name != "default")
DTYPES = ("float32", "int8")


@dataclass(frozen=True, slots=True)
class Check:
    """One step of the self-test. detail: what was measured, or what went wrong."""

    name: str
    passed: bool
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The outcome of all steps, in the order in which they ran; `passed` if every step passed."""

    passed: bool
    seconds: float
    checks: tuple[Check, ...]


def self_test() -> SelfTest:
    """Run every step and return the outcomes. A step that fails does not stop the others."""
    start = time.monotonic()
    with LocalEngine(1, time_limit=JOB_SECONDS) as engine:
        checks = [_check("read a model", _read)]
        for kernels in KERNEL_NAMES:
            for dtype in DTYPES:
                run = partial(_run_in_worker, engine, kernels, dtype == "int8")
                checks.append(_check(f"run {dtype} on {kernels} kernels", run))
        checks.append(_check("write to the cache folder", _write_to_cache))
        checks.append(_check("write to the temporary folder", lambda: _write_to(Path(tempfile.gettempdir()))))
    return SelfTest(all(check.passed for check in checks), time.monotonic() - start, tuple(checks))


def _run_in_worker(engine: LocalEngine, kernels: str, is_int8: bool) -> str:
    return engine.submit(run_tiny, kernels, is_int8).result()


def run_tiny(kernels: str, is_int8: bool) -> str:
    """Run `tiny_model` and return what was compared, in words. Raises WrongOutput or ModelError."""
    (output,) = Runner(tiny_model(is_int8), kernels=kernels).run([tiny_input(is_int8)])
    expected = tiny_output(is_int8)
    if not np.array_equal(output, expected):
        raise WrongOutput(f"the output is {output.tolist()}; {expected.tolist()} is expected")
    return f"the output is {output.tolist()}, as expected"


class WrongOutput(QvizError):
    """A kernel returned other values than the operator's definition gives."""


def _check(name: str, step: Callable[[], str]) -> Check:
    start = time.monotonic()
    try:
        detail, passed = step(), True
    except (QvizError, OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        detail, passed = without_home(str(error)), False
    return Check(name, passed, detail, time.monotonic() - start)


def without_home(text: str) -> str:
    """The text with `~` instead of the path of the home folder, because that path contains the user's name."""
    try:
        return text.replace(str(Path.home()), "~")
    except RuntimeError:  # no home folder
        return text


def _read() -> str:
    graph = read_graph(tiny_model())
    return f"{len(graph.ops)} operator, {len(graph.tensors)} tensors"


def _write_to_cache() -> str:
    folder = user_folder("cache")
    folder.mkdir(parents=True, exist_ok=True)
    return _write_to(folder)


def _write_to(folder: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=folder, prefix="qviz-") as file:
        file.write(b"qviz")
    return "possible"
