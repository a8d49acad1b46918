"""`qviz diagnose`: JSON keys, the answer in words, gates, and options that do not go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from qviz.features.rescuing import SEED
from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample
from tests.squares import Squares, scenes


def test_the_answer_and_its_gate(run: Run, sample: Sample) -> None:
    call = ("diagnose", sample.models["float32"], sample.models["int8_wrong_range"], "--workers", "1")
    images = ("--images", sample.images / "hens.jpg")
    result = run(*call, *images, "--json", "--min-agreement", "0.99")
    assert (result.status, keys.missing(keys.DIAGNOSE, result.json)) == (1, [])
    document = result.json
    assert document["gate"] == {
        "measure": "agreement",
        "limit": 0.99,
        "value": document["agreement"],
        "passed": False,
    }
    first = document["causes"][0]
    assert first["code"] == "input_range" and first["operators"] and first["sentence"] in document["verdict"]
    assert keys.missing(keys.ESTIMATE, document["cures"][0]["predicted"]) == []
    shown = run(*call, *images, "--min-agreement", "0")
    assert shown.status == 0 and document["verdict"] in shown.out and "Gate: passed." in shown.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "No image is given; give --images PATH..., or annotated images with --dataset FILE."),
        (("--images", "IMAGE", "--max-ap-loss", "0.02"), "--max-ap-loss needs annotated images: give --dataset FILE."),
        (("--images", "IMAGE", "--integers-only"), "--integers-only has no effect without --fix."),
        (("--images", "IMAGE", "--fix"), "--fix needs -o FILE and --calibration PATH..."),
        (("--images", "IMAGE", "--min-agreement", "7"), "'7' is not a number between 0 and 1."),
    ],
)
def test_options_that_do_not_go_together(run: Run, sample: Sample, options: tuple[str, ...], sentence: str) -> None:
    words = [sample.images / "hens.jpg" if word == "IMAGE" else word for word in options]
    result = run("diagnose", sample.models["float32"], sample.models["int8"], *words)
    assert (result.status, result.out) == (2, "") and sentence in result.err


@pytest.fixture
def other_half_is_red(tmp_path: Path) -> Path:
    """The squares' images, flipped for the calibration; those that measure a cure show no square but red ones."""
    folder = tmp_path / "images"
    for part in (folder, folder / "calibration"):
        part.mkdir()
    searched = np.random.default_rng(SEED).permutation(len(scenes.NAMES))[: len(scenes.NAMES) // 2]
    rows = zip(scenes.NAMES, scenes.images(), scenes.SQUARES, strict=True)
    for number, (name, pixels, squares) in enumerate(rows):
        PIL.Image.fromarray(pixels[:, ::-1]).save(folder / "calibration" / name)
        shown = pixels.copy()
        for class_id, left, top, _ in squares if number not in searched else ():
            square = shown[top : top + scenes.SIDE, left : left + scenes.SIDE]
            square[:] = (200, scenes.DARK, scenes.DARK) if class_id == scenes.RED else scenes.GREY
        PIL.Image.fromarray(shown).save(folder / name)
    return folder


def test_a_cure_that_does_not_hold_on_other_images_is_not_written(
    run: Run, squares: Squares, other_half_is_red: Path, tmp_path: Path
) -> None:
    """The variant loses green and blue squares only, and the images that measure the cure show none."""
    files = squares.model("spread_weights", "float32"), squares.model("spread_weights", "int8_per_tensor")
    images = ("--images", *sorted(other_half_is_red.glob("*.png")), "--calibration", other_half_is_red / "calibration")
    settings = ("--labels", squares.labels, "--mean", "0", "--std", "255", "--workers", "1")
    target = tmp_path / "cured.tflite"
    result = run("diagnose", *files, *images, *settings, "--fix", "--integers-only", "-o", target, "--json")
    assert (result.status, target.exists()) == (2, False)
    assert "No cure was found that holds on other images" in result.err and "cured.tflite is not written" in result.err
    document = result.json
    assert document["cure_holds"] is False and document["before"]["value"] == 1.0 and "file" not in document
    first = document["cures"][0]
    assert keys.missing(keys.ESTIMATE, first["measured"]) == [] and first["measured"]["value"] <= 1.0
    assert document["agreement"] < 0.8, "the diagnosed images do show the fault"
