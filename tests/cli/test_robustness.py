"""`qviz robustness`: JSON keys, tables and refusals."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


@pytest.fixture
def models(sample: Sample) -> list[Path]:
    return [sample.models[name] for name in ("float32", "int8_wrong_range")]


def test_robustness(run: Run, sample: Sample, models: list[Path]) -> None:
    images = [sample.images / name for name in ("astronaut.jpg", "berlin_street.jpg")]
    call = ("robustness", *models, "--images", *images, "--corruptions", "night,rotation", "--severities", "1,5")
    result = run(*call, "--json", "--layer-images", "1")
    assert (result.status, keys.missing(keys.ROBUSTNESS, result.json)) == (0, [])
    document = result.json
    assert (document["measure"], document["corruptions"]) == ("agreement", ["night", "rotation"])
    assert len(document["points"]) == 2 * (1 + 2 * 2)
    assert [row["model"] for row in document["summary"]] == [path.name for path in models]
    assert {row["model"] for row in document["interactions"]} == {models[1].name}
    clipped = {row["model"]: row["clipped_share"] for row in document["points"]}
    assert clipped[models[0].name] is None and clipped[models[1].name] > 0
    assert document["saturation"][0]["layers"][0]["op_kind"] == "QUANTIZE"
    assert len(document["out_of_range"][0]["images"]) == 2
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv", "--layer-images", "0").out)))
    assert [float(row["agreement"]) for row in rows] == [row["agreement"] for row in document["points"]]
    text = run(*call, "--layer-images", "1").out
    assert "interaction" in text and "half gone at" in text and "the network far outside its calibrated ranges" in text


BAD = [
    (("--corruptions", "fogg"), "'fogg' does not exist; give all, a family (lighting, published, pose)"),
    (("--severities", "0"), "'0' is not a list of severities; give some of 1,2,3,4,5"),
    (("--layer-images", "-1"), "--layer-images: '-1' is not a number between 0 and 10000"),
    (("--score", "0.5"), "objects of 0.25 and more are counted"),
    (("--dataset", "x.json"), "A dataset has its own images"),
]


@pytest.mark.parametrize(("wrong", "sentence"), BAD)
def test_refusals(wrong: tuple[str, ...], sentence: str, run: Run, sample: Sample, models: list[Path]) -> None:
    result = run("robustness", *models, "--images", sample.images / "astronaut.jpg", *wrong, "--workers", "1")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err


def test_images_or_a_dataset_are_required(run: Run, models: list[Path]) -> None:
    result = run("robustness", *models)
    assert result.status == 2 and "Neither --dataset FILE nor --images PATH is given" in result.err
