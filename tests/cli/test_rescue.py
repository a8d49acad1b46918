"""`qviz rescue`: JSON keys, the command and the recipe that build the file again, and refusals."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample
from tests.features.layer_error.small_detector import PLANTED, write_small_detector


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_small_detector(tmp_path / "small detector.tflite")  # a name that a shell has to quote


@pytest.fixture
def photographs(sample: Sample) -> list[Path]:
    return sorted((sample.folder / "calibration").glob("*.jpg"))[:26]


def test_the_rescued_model_can_be_built_again(run: Run, model: Path, photographs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "rescued.tflite"
    call = (
        "rescue", model, "--calibration", *photographs[:6], "--images", *photographs[6:], "--min-agreement", "0.85",
        "--recipes", "int8", "-o", out, "--workers", "2", "--cache", tmp_path / "cache",
    )  # fmt: skip
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.RESCUE, result.json)) == (0, [])
    assert result.json["chosen"]["kept_float"] == [PLANTED] and result.json["kept"]
    data = out.read_bytes()
    assert len(data) == result.json["chosen"]["bytes"]
    program, *words = shlex.split(result.json["command"])
    assert program == "qviz" and words[:4] == ["quantize", str(model), "--recipe", "int8"]
    out.unlink()
    run(*words, "--workers", "1")
    assert out.read_bytes() == data
    recipe = Path(result.json["recipe_file"])
    assert json.loads(recipe.read_text())["keep_operators"] == str(PLANTED)
    built = tmp_path / "again.tflite"
    keep_operators = ("--keep-operators", str(PLANTED))
    run("quantize", model, "--recipe", "int8", "--calibration", recipe, *keep_operators, "-o", built, "--workers", "1")
    assert built.read_bytes() == data  # the recipe contains the ranges, so no images are needed
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [row["search_loss"] for row in rows] == [str(row["search_loss"]) for row in result.json["tried"]]
    assert "int8, 3 float is within the budget" in run(*call).out


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--max-ap-loss", "0.01"), "A loss of AP is measured on annotated images"),
        (("--min-agreement", "98"), "'98' is not a number between 0 and 1"),
        (("--min-agreement", "0.9", "--recipes", "int9"), "'int9' is not a recipe"),
        (("--min-agreement", "0.9", "--tries", "0"), "0 tries are not possible"),
    ],
)
def test_refusals(
    more: tuple[str, ...], sentence: str, run: Run, model: Path, photographs: list[Path], tmp_path: Path
) -> None:
    images = ("--calibration", photographs[0], "--images", *photographs[:8])
    result = run("rescue", model, *images, *more, "-o", tmp_path / "out.tflite", "--workers", "1", "--no-cache")
    assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
    assert sentence in result.err
    assert not (tmp_path / "out.tflite").exists()
