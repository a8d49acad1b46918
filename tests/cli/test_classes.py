"""--classes: only these classes count, in every command that counts detections."""

from __future__ import annotations

from typing import Any

import pytest

from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.detection.inference import counted_classes
from qviz.session import Session
from tests.cli.conftest import Run
from tests.conftest import Sample

IMAGES = ("hens.jpg", "dog_shepherd.jpg", "horses_nokota.jpg")


@pytest.fixture
def call(sample: Sample) -> tuple[Any, ...]:
    models = sample.models["float32"], sample.models["int8_wrong_range"]
    return (*models, "--images", *(sample.images / name for name in IMAGES), "--workers", "1", "--json")


def test_compare_and_detect_count_these_classes_alone(run: Run, call: tuple[Any, ...], sample: Sample) -> None:
    every, some = run("compare", *call).json, run("compare", *call, "--classes", "Bird, horse").json

    def objects(document: dict[str, Any]) -> list[dict[str, Any]]:
        return [row for image in document["variants"][0]["images"] for row in image["objects"]]

    assert {row["label"] for row in objects(every)} > {"bird", "horse"}
    assert {row["label"] for row in objects(some)} == {"bird", "horse"}
    expected = [row for row in objects(every) if row["label"] in ("bird", "horse") and row["change"] == "kept"]
    assert [row for row in objects(some) if row["change"] == "kept"] == expected
    image = sample.images / "dog_shepherd.jpg"
    detected = run("detect", sample.models["float32"], "--images", image, "--classes", "dog", "--json").json
    assert {row["label"] for row in detected["images"][0]["detections"]} == {"dog"}


@pytest.mark.parametrize("command", ["compare", "robustness"])
def test_a_class_that_no_model_has_is_refused(command: str, run: Run, call: tuple[Any, ...]) -> None:
    result = run(command, *call, "--classes", "unicorn")
    assert (result.status, result.out) == (2, "")
    assert "has no class unicorn; it has person, bicycle, " in result.err


def test_names_match_as_categories_do(engine: LocalEngine, sample: Sample) -> None:
    with Session(sample.models["float32"], engine=engine, cache=False) as session:
        (model,) = session.models
    labels = model.inspection.labels
    chosen = counted_classes(model, ["TVmonitor", "dining_table"])
    assert chosen is not None
    assert [labels[number] for number in chosen] == ["dining table", "tv"]
    assert counted_classes(model, []) is None
    with pytest.raises(SettingsError, match="has no class unicorn"):
        counted_classes(model, ["unicorn"])


def test_a_session_counts_some_classes_in_every_analysis(engine: LocalEngine, sample: Sample) -> None:
    paths = sample.models["float32"], sample.models["float16"]
    options: dict[str, Any] = {"engine": engine, "cache": False, "images": [sample.images / name for name in IMAGES]}
    with Session(*paths, classes=["horse"], **options) as session:
        comparison = session.compare()
        agreed = session.evaluate(images=options["images"], reference_as_truth=True)
    assert {row.label for image in comparison.variants[0].images for row in image.objects} == {"horse"}
    assert [row.label for row in agreed.models[0].per_class] == ["horse"]
