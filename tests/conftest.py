"""Fixtures that tests share: the sample's files, an engine with two workers, and the sample's models, loaded once."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from qviz.engine import Blob, Engine, LocalEngine, importing
from qviz.features.detection.models import LoadedModel
from qviz.limits import limits
from qviz.session import Session
from qviz.session_inputs import start_workers
from qviz.structures import digest_of
from qviz.tensorflow_models import SourceKind, convert_job
from tests.squares import Squares
from tests.squares.detectors import SHARED

ROOT = Path(__file__).resolve().parents[1]
_MAIN = sys.modules["__main__"]
BROWSER = "tests/browser/"
LONGEST = (
    BROWSER,
    "tests/decoders/test_public_files.py",
    "tests/features/what_if/test_named_operators.py",
    "tests/tensorflow_models/test_loading.py",
    "tests/fuzz/test_fuzz.py",
    "tests/cli/test_qat.py",
    "tests/cli/test_options.py",
    "tests/ui/test_train.py",
    "tests/ui/test_rescue.py",
    "tests/ui/test_lab.py",
    "tests/ui/test_pages.py",
    "tests/features/rescuing/test_rescue.py",
    "tests/features/what_if/test_what_if.py",
)
"""The files that take longest, the longest first (`pytest --durations 100`); those of the browser count as one file."""
SCHEMES = ("float32", "float16", "dynamic_range", "int8", "int8_wrong_range")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["QVIZ_CACHE"] = tempfile.mkdtemp(prefix="qviz-test-cache-")  # never the developer's own
    os.environ["QVIZ_DATA"] = tempfile.mkdtemp(prefix="qviz-test-data-")
    if SHARED not in os.environ:  # this process starts the others, which find it there
        os.environ[SHARED] = tempfile.mkdtemp(prefix="qviz-test-shared-")
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True))
    config.addinivalue_line("markers", "slow: loads TensorFlow or runs many images")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file to one process, and all browser tests to the same one: two browsers at once overload two cores."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that no process is alone with one at the end."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    files = {item: BROWSER if item.nodeid.startswith(BROWSER) else item.nodeid.split("::")[0] for item in items}
    items.sort(key=lambda item: ranks.get(files[item], len(LONGEST)))


def pytest_runtest_setup() -> None:
    """Restore the main module. AppTest sets it to app.py, which spawned processes would then run again."""
    sys.modules["__main__"] = _MAIN


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ["QVIZ_CACHE"], ignore_errors=True)
    shutil.rmtree(os.environ["QVIZ_DATA"], ignore_errors=True)


@dataclass(frozen=True)
class Sample:
    """Paths of the bundled files."""

    folder: Path

    @property
    def models(self) -> dict[str, Path]:
        return {name: self.folder / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in SCHEMES}

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def annotations(self) -> Path:
        return self.folder / "annotations.json"


@pytest.fixture(scope="session")
def sample() -> Sample:
    return Sample(ROOT / "sample_data")


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Squares:
    """Images, annotations and models of coloured squares; the models are converted in a separate process."""
    return Squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture
def limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that applies the text of an administrator's limits file for the rest of the test."""

    def put_in_force(text: str) -> None:
        path = tmp_path / "limits.toml"
        path.write_text(text)
        monkeypatch.setenv("QVIZ_LIMITS", str(path))

    return put_in_force


@pytest.fixture(scope="session")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2, memory_limit=2 << 30, warm_up=importing("qviz.detector")) as running:
        yield running


class LentEngine(Engine):
    """The engine that tests share, as sessions get it: closing a session does not stop its workers."""

    def __init__(self, engine: LocalEngine) -> None:
        self.workers, self._engine = engine.workers, engine

    def _queue(self, call: Callable[[], object], urgent: bool) -> Future[object]:
        return self._engine._queue(call, urgent)

    def share(self, data: bytes, digest: str) -> Blob:
        return self._engine.share(data, digest)

    def allow_reading(self, path: Path) -> None:
        self._engine.allow_reading(path)

    def close(self) -> None:
        """Does nothing, because the fixture `engine` stops the workers."""


@pytest.fixture
def lent_workers(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions use the workers of the fixture `engine` instead of starting their own.

    Starting a worker takes a third of a CPU second. Tests without this fixture, such as tests/cli/test_workers.py,
    check that sessions start and stop their own workers.
    """

    def start(workers: int | str | None) -> Engine:
        enough = str(workers) in {"None", *map(str, range(1, engine.workers + 1))}
        return LentEngine(engine) if enough and "QVIZ_LIMITS" not in os.environ else start_workers(workers)

    monkeypatch.setattr("qviz.session_inputs.start_workers", start)


@pytest.fixture(scope="session")
def start_builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], LocalEngine]]:
    """A function that returns the one worker that builds models, which imports TensorFlow when it starts (5 CPU s).

    It may write into the temporary folders of tests, which make files for the tests in it.
    """

    @cache
    def start() -> LocalEngine:
        warm_up = importing("litert_quantizer.quantizer")
        return LocalEngine(1, limits().build_seconds, None, warm_up, tmp_path_factory.getbasetemp())

    yield start
    if start.cache_info().currsize:
        start().close()


@pytest.fixture(scope="session")
def workers(start_builder: Callable[[], LocalEngine]) -> LocalEngine:
    return start_builder()


@pytest.fixture
def lent_builder(
    start_builder: Callable[[], LocalEngine],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What builds, converts or trains models uses the worker of `start_builder` instead of starting its own.

    Tests without this fixture, such as tests/cli/test_workers.py and those that run the command in a process of its
    own, check that such workers are started and stopped.
    """

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.getbasetemp()))  # where that worker may write

    def lent(*_: object, **__: object) -> Engine:
        return LentEngine(start_builder())

    for module in ("qviz.features.building.build", "qviz.features.detection.models", "qviz.features.training"):
        monkeypatch.setattr(f"{module}.LocalEngine", lent)


@pytest.fixture(scope="session")
def loaded(sample: Sample, engine: LocalEngine) -> dict[str, LoadedModel]:
    return dict(zip(SCHEMES, Session(*sample.models.values(), engine=engine, cache=False).models, strict=True))


@pytest.fixture(scope="session")
def tiny_detector(tmp_path_factory: pytest.TempPathFactory, workers: LocalEngine) -> Path:
    """The float32 .tflite file that qviz converts from a small tf_keras model (.h5), which is quick to train."""
    from tests.features.training import nets

    path = tmp_path_factory.mktemp("tiny") / "detector.h5"
    workers.submit(nets.yolo_h5, str(path)).result()
    data = path.read_bytes()
    converted = workers.submit(convert_job, workers.share(data, digest_of(data)), SourceKind.H5).result()
    path.with_suffix(".tflite").write_bytes(converted)
    return path.with_suffix(".tflite")
