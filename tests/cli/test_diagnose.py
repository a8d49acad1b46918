"""`qviz diagnose`: JSON keys, the answer in words, gates, and options that do not go together."""

from __future__ import annotations

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


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
