"""`qviz calibration`: JSON keys, tables and refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample
from tests.features.layer_error.small_detector import write_small_detector


def test_calibration(run: Run, sample: Sample, tmp_path: Path) -> None:
    model = write_small_detector(tmp_path / "sound.tflite", planted=False)
    photographs = sorted((sample.folder / "calibration").glob("*.jpg"))
    calibration_images, evaluation_images = photographs[:8], photographs[10:12]
    options = ("--reference-as-truth", "--draws", "1", "--mistakes", "noise_unit", "--cache", tmp_path)
    call = (
        "calibration",
        model,
        "--calibration",
        *calibration_images,
        "--images",
        *evaluation_images,
        *options,
    )
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.CALIBRATION, result.json), result.err) == (0, [], "")
    document = result.json
    assert [point["images"] for point in document["curve"]] == [1, 2, 4, 8]
    assert (document["measure"], document["judged"], document["reference"]) == ("agreement", 2, 1)
    assert [row["name"] for row in document["mismatch"]] == ["noise_unit"]
    assert document["mismatch"][0]["agreement"] < document["curve"][-1]["agreement"]
    old = run(
        "calibration",
        model,
        "--images",
        *calibration_images,
        "--judge",
        *evaluation_images,
        *options,
    )
    assert "now given with --calibration" in old.err and "--judge is now called --images" in old.err
    assert "agreement by number of images" in old.out and "Random numbers in [0, 1)" in old.out
    assert "images that widen the ranges most" in old.out and "layers changed" in old.out
    curve = old.out.split("agreement by number of images")[1]
    for point in document["curve"]:  # the old options give the same numbers
        assert re.search(rf"\n *{point['images']} +1 +{100 * point['agreement']:.1f}\b", curve), curve


BAD = [
    ((), "this needs at least 4 images (1 given)"),
    (("--dataset", "x.json", "--reference-as-truth"), "Give --dataset FILE or --reference-as-truth, not both"),
    (("--dataset", "x.json", "--images", "x.jpg"), "A dataset has its own images"),
    (("--dataset", "x.json", "--dataset-images", "nowhere"), "nowhere is not a folder"),
    (("--dataset", "x.json"), "x.json does not exist"),
    (("--reference-as-truth",), "this needs at least 4 images (1 given)"),
    (("--reference-as-truth", "--recipe", "float16"), "Recipe float16 does not need calibration"),
    (("--reference-as-truth", "--mistakes", "none,all"), "'none' does not exist; choose from noise_unit"),
    (("--reference-as-truth", "--draws", "0"), "--draws: '0' is not a number between 1 and 50"),
    (("--reference-as-truth", "--seed", "-1"), "--seed: '-1' is not a number"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=lambda value: str(value)[:40])
def test_refusals(arguments: tuple[str, ...], sentence: str, run: Run, sample: Sample) -> None:
    image = sample.images / "astronaut.jpg"
    result = run("calibration", sample.models["float32"], "--calibration", image, *arguments, "--workers", "1")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err


def test_a_quantized_model_is_refused(run: Run, sample: Sample) -> None:
    images = sorted(sample.images.glob("*.jpg"))[:4]
    result = run(
        "calibration", sample.models["int8"], "--calibration", *images, "--reference-as-truth", "--workers", "1"
    )
    assert (result.status, result.out) == (2, "")
    assert "The file is already int8" in result.err
