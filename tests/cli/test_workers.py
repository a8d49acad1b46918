"""`--workers`, `--cache`, `--no-cache`: where a call runs and what it caches."""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path

import pytest

from qviz.cli.options import TerminalProgress
from qviz.store import FILE
from tests.cli.conftest import Run
from tests.conftest import Sample


@pytest.fixture(autouse=True)
def shared_workers() -> None:
    """Overrides the fixture of conftest.py: each command of these tests starts and stops its own workers."""


def unused_address() -> str:
    """An address of this machine on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


WRONG = [
    ("tcp://{unused}", "No Dask scheduler answers at tcp://127.0.0.1"),
    ("tcp://", "No Dask scheduler answers at tcp://"),
    ("http://{unused}", "No Dask scheduler answers at http://"),
    ("cluster", "A Dask cluster is given by its scheduler's address, e.g. tcp://127.0.0.1:8786."),
    ("-1", "--workers is -1; give a number between 1 and 256"),
    ("0", "--workers is 0; give a number between 1 and 256"),
]


@pytest.mark.parametrize(("workers", "sentence"), WRONG)
def test_an_invalid_workers_option_is_one_sentence(
    run: Run, sample: Sample, workers: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "://" in workers:
        pytest.importorskip("distributed")
        monkeypatch.setattr("qviz.engine.cluster.CONNECT_SECONDS", 1.0)
    result = run("info", sample.models["float32"], f"--workers={workers.format(unused=unused_address())}")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
    assert len(result.err.splitlines()) == 1


def test_missing_dask_names_the_install_command(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # None makes the import fail
    result = run("info", sample.models["float32"], "--workers", "tcp://127.0.0.1:8786")
    assert result.status == 2
    assert 'Dask is not installed; install it with: pip install "qviz-tflite[cluster]"' in result.err


def test_a_cluster_gives_the_same_output_as_local_workers(run: Run, sample: Sample) -> None:
    distributed = pytest.importorskip("distributed")
    call = ("detect", sample.models["float32"], "--images", sample.images / "astronaut.jpg", "--no-cache", "--json")
    here = run(*call, "--workers", "1").json["images"]
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        there = run(*call, "--workers", cluster.scheduler_address).json["images"]
    assert [image["detections"] for image in there] == [image["detections"] for image in here]


def test_a_scheduler_without_workers_is_refused(run: Run, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("qviz.engine.cluster.CONNECT_SECONDS", 4.0)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        result = run("info", sample.models["float32"], "--workers", cluster.scheduler_address)
    assert result.status == 2
    assert re.search(r"has no worker; start some with `dask worker tcp://", result.err)


def test_detections_are_cached_in_the_given_folder(run: Run, sample: Sample, tmp_path: Path) -> None:
    call = ("detect", sample.models["float32"], "--images", sample.images / "astronaut.jpg", "--workers", "1", "--json")
    first = run(*call, "--cache", tmp_path / "new" / "folder")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE]  # the journal has been deleted
    again = run(*call, "--cache", tmp_path / "new" / "folder")
    assert again.json == first.json  # also the milliseconds: the model was not run again
    assert first.err == again.err == ""


def test_no_cache_writes_no_files(run: Run, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QVIZ_CACHE", str(tmp_path / "own"))
    call = ("detect", sample.models["float32"], "--images", sample.images / "astronaut.jpg", "--workers", "1")
    assert run(*call, "--no-cache").status == 0
    assert not (tmp_path / "own").exists()
    assert run(*call).status == 0
    assert (tmp_path / "own" / FILE).exists()
    assert run(*call, "--no-cache", "--cache", tmp_path).status == 2


def test_an_unusable_cache_folder_is_a_warning(run: Run, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    call = ("detect", sample.models["float32"], "--images", sample.images / "astronaut.jpg", "--workers", "1", "--json")
    result = run(*call, "--cache", tmp_path / "file")
    assert result.status == 0
    assert len(result.json["images"]) == 1
    assert re.search(r"The cache .*file.* cannot be used \(.*\); the work continues without it", result.err)


def test_progress_is_shown_only_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    TerminalProgress().advance(1, 2)
    assert capsys.readouterr().err == ""
    leader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as shown:
        monkeypatch.setattr("sys.stderr", shown)
        progress = TerminalProgress()
        progress.step("Detecting")
        progress.advance(1, 2)
        progress.advance(2, 2)
    output = b""
    while not output.endswith(b"\n"):
        output += os.read(leader, 1000)
    os.close(leader)
    assert re.search(r"Detecting: 1 / 2(, \d+:\d\d left)?.*2 / 2", output.decode(), re.DOTALL)
