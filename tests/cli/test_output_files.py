"""A command writes no file that it reads, and a list of names has at least one name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qviz.cli import main
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
