"""`qviz dataset`, and what `qviz evaluate` makes of annotations that cannot be right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample

FEW = ("cat_chelsea.jpg", "dog_shepherd.jpg", "hens.jpg", "giraffes.jpg", "biplane.jpg", "horses_nokota.jpg")


@pytest.fixture(scope="module")
def few(sample: Sample) -> dict[str, Any]:
    """A few of the sample's images as COCO annotations."""
    document = json.loads(sample.annotations.read_text())
    ids = {row["id"] for row in document["images"] if row["file_name"] in FEW}
    document["images"] = [row for row in document["images"] if row["id"] in ids]
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] in ids]
    return document


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "few.json"
    path.write_text(json.dumps(document))
    return path


def corner_boxes(document: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {**row, "bbox": [*row["bbox"][:2], row["bbox"][0] + row["bbox"][2], row["bbox"][1] + row["bbox"][3]]}
        for row in document["annotations"]
    ]
    return {**document, "annotations": rows}


def tiny_boxes(document: dict[str, Any]) -> dict[str, Any]:
    sizes = {row["id"]: (row["width"], row["height"]) for row in document["images"]}
    rows = [
        {**row, "bbox": [value / sizes[row["image_id"]][i % 2] for i, value in enumerate(row["bbox"])]}
        for row in document["annotations"]
    ]
    return {**document, "annotations": rows}


def test_a_healthy_dataset(run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path) -> None:
    path = written(tmp_path, few)
    call = ("dataset", path, "--dataset-images", sample.images)
    result = run(*call, "--json")
    assert result.status == 0
    assert keys.missing(keys.DATASET, result.json) == []
    assert (result.json["images"], result.json["annotations"]) == (6, len(few["annotations"]))
    counts = {row["name"]: row["objects"] for row in result.json["categories"]}
    assert (counts["giraffe"], counts["cat"], counts["airplane"]) == (2, 1, 1)
    assert result.json["problems"] == []
    shown = run(*call, "--strict")
    assert (shown.status, shown.err) == (0, "")
    assert "few.json: 6 images" in shown.out
    assert "no problem." in shown.out


@pytest.mark.parametrize(("change", "code"), [(corner_boxes, "box_order"), (tiny_boxes, "box_unit")])
def test_meaningless_annotations_have_status_1(
    change: Any, code: str, run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path
) -> None:
    call = ("dataset", written(tmp_path, change(few)), "--dataset-images", sample.images)
    result = run(*call, "--json")
    assert result.status == 1
    problem = result.json["problems"][0]
    assert (problem["code"], problem["serious"]) == (code, True)
    assert f"! {code}: " in run(*call).out
    assert run(*call, "--csv").out.startswith("code,message,fix,count,serious,advice\n")


def test_strict_fails_on_any_problem(run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path) -> None:
    few = {**few, "images": [*few["images"], {"id": 999, "file_name": "gone.jpg"}]}
    call = ("dataset", written(tmp_path, few), "--dataset-images", sample.images)
    assert [run(*call).status, run(*call, "--strict").status] == [0, 1]
    assert "gone.jpg is not in the folder" in run(*call).out


def test_labels_are_compared(run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("0 cat\n1: dog\n5 unicorn\n")
    result = run("dataset", written(tmp_path, few), "--dataset-images", sample.images, "--labels", labels, "--json")
    problems = {row["code"]: row for row in result.json["problems"]}
    assert problems["classes_without_objects"]["examples"] == ["unicorn"]
    assert "bird" in " ".join(problems["unknown_categories"]["examples"])


REFUSED = [
    (("nowhere.json",), "nowhere.json does not exist"),
    (("few.json", "--dataset-images", "nowhere"), "nowhere is not a folder"),
    (("few.json",), "no image file is there. The first, "),
    (("few.json", "--labels", "nowhere.txt"), "nowhere.txt does not exist"),
]


@pytest.mark.parametrize(("words", "sentence"), REFUSED)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...], sentence: str, run: Run, few: dict[str, Any], tmp_path: Path
) -> None:
    path = written(tmp_path, few)
    result = run("dataset", *(path if word == "few.json" else word for word in words))
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (corner_boxes, "these are probably corners x1, y1, x2, y2 in pixels"),
        (tiny_boxes, "in normalised shares of the image (0 to 1)"),
        (lambda document: {**document, "annotations": []}, "No object is annotated"),
    ],
)
def test_the_gate_cannot_conclude_without_truth(
    change: Any, words: str, run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path
) -> None:
    path = written(tmp_path, change(few))
    models = sample.models["float32"], sample.models["int8"]
    call = ("evaluate", *models, "--dataset", path, "--dataset-images", sample.images, "--max-ap-loss", "0.02")
    result = run(*call, "--workers", "1")
    assert result.status == 2
    assert "gate: at most 2.0 AP points lost: cannot conclude" in result.out
    assert "passed" not in result.out
    assert words in result.err
    document = run(*call, "--workers", "1", "--json")
    assert document.status == 2
    assert (document.json["gate"]["passed"], document.json["gate"]["failed"]) == (False, [])
    assert words in document.json["gate"]["inconclusive"]
    assert document.json["dataset"]["problems"][0]["serious"]


def test_one_model_alone(run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path) -> None:
    call = ("evaluate", sample.models["int8"], "--dataset", written(tmp_path, few), "--dataset-images", sample.images)
    result = run(*call, "--workers", "1")
    assert result.status == 0
    lines = [line for line in result.out.splitlines() if line.startswith(" Average ")]
    assert len(lines) == 12
    document = run(*call, "--workers", "1", "--json").json
    assert (document["losses"], document["models"][0]["coco_lines"]) == ([], lines)
    assert lines[0].endswith(f"maxDets=100 ] = {document['models'][0]['ap']:.3f}")
    refused = run(*call, "--max-ap-loss", "0.1")
    assert (refused.status, refused.out) == (2, "")
    assert "add a variant" in refused.err


def test_only_some_classes_count(run: Run, sample: Sample, few: dict[str, Any], tmp_path: Path) -> None:
    models = sample.models["float32"], sample.models["float16"]
    call = ("evaluate", *models, "--dataset", written(tmp_path, few), "--dataset-images", sample.images)
    every = run(*call, "--workers", "1", "--json").json["models"][0]
    some = run(*call, "--workers", "1", "--json", "--classes", "Giraffe, bird").json["models"][0]
    by_label = {row["label"]: row for row in every["per_class"]}
    assert some["per_class"] == [by_label["bird"], by_label["giraffe"]]
    assert some["ap"] == pytest.approx((by_label["bird"]["ap"] + by_label["giraffe"]["ap"]) / 2)
    unknown = run(*call, "--classes", "unicorn")
    assert (unknown.status, unknown.out) == (2, "")
    assert "few.json has no category 'unicorn'; it has " in unknown.err
