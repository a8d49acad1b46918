"""A command writes no file that it reads, and a list of names has at least one name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qviz.cli import main
from qviz.cli.output import write
from tests.conftest import ROOT
from tests.squares import Squares


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("written", ["model.tflite", "./model.tflite", "link.tflite", "labels.txt"])
def test_an_input_is_not_overwritten(
    written: str, squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(squares.model("reference", "float32"), "model.tflite")
    shutil.copy(squares.labels, "labels.txt")
    Path("link.tflite").symlink_to("model.tflite")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    words = ("quantize", "model.tflite", "--recipe", "float16", "--labels", "labels.txt", "-o", written)
    assert run(*words) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_outputs_need_two_names(squares: Squares, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    model = squares.model("reference", "float32")
    assert run("report", model, "--images", squares.images, "-o", page, "--save-study", page) == 2
    assert "named for two outputs" in capsys.readouterr().err and not page.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "a.tflite", "b.tflite", "--images", "x", "--classes", ","),
        ("quantize", "a.tflite", "--recipe", "int8", "-o", "x", "--cures", ""),
        ("evaluate", "a.tflite", "--dataset", "x", "--slices", " , "),
        ("backends", "a.tflite", "--images", "x", "--on", ""),
        ("robustness", "a.tflite", "b.tflite", "--images", "x", "--corruptions", ","),
    ],
)
def test_a_list_without_names_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "names nothing" in capsys.readouterr().err


FULL_DISK = """
import resource, sys
from pathlib import Path
from qviz.cli.output import write
from qviz.engine.local import SharedFiles
from qviz.errors import SettingsError
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
def refused(call, *arguments):
    try:
        call(*arguments)
    except SettingsError as error:
        print(error)
write(folder / "old", b"old")
for name in ("old", "new"):
    refused(write, folder / name, bytes(1 << 20))
refused(SharedFiles(folder, 1 << 30).share, bytes(1 << 20), "digest")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(" cannot be ")[1] for line in lines[:2]] == [
        "written (File too large); name a file where you may write."
    ] * 2
    assert lines[2].startswith("The workers cannot be given a file of 1 MB: ")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"old": b"old"}


def test_what_is_no_file_is_written_directly(tmp_path: Path) -> None:
    write(Path(os.devnull), b"x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for data in (b"1", b"2"):
        write(tmp_path / "link", data)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"2"
