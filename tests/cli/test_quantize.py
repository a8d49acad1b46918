"""`qviz quantize`: JSON keys, saved ranges that are used again, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz.features.building.recipes import ALGORITHMS, RECIPES
from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample

KEYS = {
    "recipe": str,
    "file": str,
    "bytes": int,
    "scheme": str,
    "stayed_float": [{"tensor": str, "reason": str}],
    "seconds": float,
}


@pytest.fixture
def photographs(sample: Sample) -> list[Path]:
    return sorted((sample.folder / "calibration").glob("*.jpg"))[:4]


def test_saved_ranges_are_used_again(run: Run, sample: Sample, photographs: list[Path], tmp_path: Path) -> None:
    source, out, ranges = sample.models["float32"], tmp_path / "int8.tflite", tmp_path / "ranges.json"
    call = ("quantize", source, "--recipe", "int8", "--workers", "1", "-o", out)
    result = run(*call, "--calibration", *photographs, "--save-ranges", ranges, "--json")
    assert (result.status, keys.missing(KEYS, result.json), result.err) == (0, [], "")
    assert (result.json["file"], result.json["bytes"], result.json["scheme"]) == (str(out), out.stat().st_size, "int8")
    assert (result.json["calibration"]["images"], result.json["calibration"]["method"]) == (4, "mean")
    first = out.read_bytes()
    mixed = run(*call, "--calibration", ranges, "--wide-operators", "0-1", "--json").json
    assert (mixed["scheme"], mixed["wide"]) == ("mixed", [0, 1])
    again = run(*call, "--calibration", ranges, "--keep-operators", "0-1")
    assert (again.status, "kept by --keep-operators 1" in again.out) == (0, True)
    assert out.read_bytes() != first
    run(*call, "--calibration", ranges)
    assert out.read_bytes() == first


def test_recipes_and_methods_are_listed(run: Run) -> None:
    shown = run("quantize", "--recipes").out
    assert all(f"{name}\n  " in shown for name in (*RECIPES, *ALGORITHMS))
    assert shown.count("Needs calibration images.") == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--recipe", "int9"), "'int9' is not a recipe"),
        (("--recipe", "int8"), "Recipe int8 needs calibration"),
        (("--recipe", "int8", "--calibration", "{folder}/nowhere"), "nowhere does not exist"),
        (
            ("--recipe", "int8", "--calibration", "{folder}/text.json"),
            "is not a file written by qviz quantize --save-ranges",
        ),
        (("--recipe", "float16", "--save-ranges", "{folder}/no/ranges.json"), "its folder does not exist"),
        (("--recipe", "float16", "--keep-operators", "a-b"), "give operators by order"),
    ],
)
def test_refusals(more: tuple[str, ...], sentence: str, run: Run, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("{}")
    arguments = [part.format(folder=tmp_path) for part in more]
    out = tmp_path / "out.tflite"
    result = run("quantize", sample.models["float32"], *arguments, "--workers", "1", "-o", out)
    assert (result.status, result.out, out.exists()) == (2, "", False)
    assert sentence in result.err
    assert result.err.count("\n") == 1
