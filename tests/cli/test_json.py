"""Every command's JSON has the documented keys; its tables and CSV have the same numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from qviz.structures import digest_of
from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample

NAMES = ("astronaut.jpg", "berlin_street.jpg")


@pytest.fixture
def photographs(sample: Sample) -> list[Path]:
    return [sample.images / name for name in NAMES]


@pytest.fixture
def dataset(sample: Sample, tmp_path: Path) -> Path:
    """Two annotated images of the sample."""
    document = json.loads(sample.annotations.read_text())
    images = [image for image in document["images"] if image["file_name"] in NAMES]
    image_ids = {image["id"] for image in images}
    document |= {"images": images, "annotations": [a for a in document["annotations"] if a["image_id"] in image_ids]}
    path = tmp_path / "two.json"
    path.write_text(json.dumps(document))
    return path


KINDS = [
    ({"a": int}, {"a": 1, "b": 2}, []),
    ({"a": int}, {"b": 2}, [".a is missing"]),
    ({"a": [{"b": str}]}, {"a": [{"b": "x"}, {}]}, [".a[1].b is missing"]),
    ({"a": (float, None)}, {"a": None}, []),
    ({"a": float}, {"a": None}, [".a is None"]),
    ({"a": list}, {"a": "x"}, [".a is 'x'"]),
]


@pytest.mark.parametrize(("promised", "document", "expected"), KINDS)
def test_missing_lists_absent_keys_and_wrong_types(promised: Any, document: Any, expected: list[str]) -> None:
    assert keys.missing(promised, document) == expected


NMS = "class_lost_by_threads"
"""Said of every file with NMS inside."""


def codes(model: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in model["warnings"]]


def test_info(run: Run, sample: Sample) -> None:
    wrong = sample.models["int8_wrong_range"]
    result = run("info", sample.models["float16"], wrong, "--json", "--workers", "1")
    assert result.status == 0
    assert keys.missing(keys.INFO, result.json) == []
    first, second = result.json["models"]
    assert (first["scheme"], first["weight_bits"], first["operators"], codes(first)) == ("float16", 16, 125, [NMS])
    assert second["sha256"] == digest_of(wrong.read_bytes())
    assert (second["bytes"], second["scheme"], second["quantized_operators"]) == (wrong.stat().st_size, "int8", 114)
    assert codes(second) == ["input_range", "float_islands", NMS]


def test_detect(run: Run, sample: Sample, photographs: list[Path]) -> None:
    call = ("detect", sample.models["float32"], "--images", *photographs, "--workers", "1", "--score", "0.3")
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.DETECT, result.json)) == (0, [])
    assert [image["image"] for image in result.json["images"]] == list(NAMES)
    first = result.json["images"][0]
    assert (first["width"], first["height"], first["detections"][0]["label"]) == (512, 512, "person")
    objects = [row for image in result.json["images"] for row in image["detections"]]
    assert all(row["score"] >= 0.3 and len(row["box"]) == 4 for row in objects)
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [float(row["score"]) for row in rows] == [row["score"] for row in objects]
    assert [float(rows[0][side]) for side in ("x1", "y1", "x2", "y2")] == objects[0]["box"]
    assert run(*call).out.splitlines()[1].split()[:3] == ["astronaut.jpg", "person", "0"]


def test_compare(run: Run, sample: Sample, photographs: list[Path]) -> None:
    models = [sample.models[name] for name in ("float32", "int8", "int8_wrong_range")]
    call = ("compare", *models, "--images", *photographs, "--workers", "2")
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.COMPARE, result.json)) == (0, [])
    assert result.json["reference"] == models[0].name
    assert [variant["name"] for variant in result.json["variants"]] == [path.name for path in models[1:]]
    objects = [row for v in result.json["variants"] for image in v["images"] for row in image["objects"]]
    assert {"kept", "lost"} <= {row["change"] for row in objects}
    assert all((row["change"] == "lost") == (row["lost_because"] is not None) for row in objects)
    assert codes(result.json) == [NMS, "float_islands", NMS, "input_range", "float_islands", NMS]
    assert "Wrong input range" in result.err
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [row["change"] for row in rows] == [row["change"] for row in objects]
    assert [row["iou"] for row in rows] == ["" if row["iou"] is None else str(row["iou"]) for row in objects]
    assert "Objects that are not kept" in run(*call).out


def test_trace(run: Run, sample: Sample) -> None:
    models = [sample.models[name] for name in ("float32", "int8_wrong_range")]
    call = ("trace", *models, "--image", sample.images / "biplane.jpg", "--workers", "1")
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.TRACE, result.json)) == (0, [])
    points = {point["order"]: point["score"] for point in result.json["points"]}
    assert sorted(points) == list(range(158))
    assert points[0] == result.json["object"]["variant_score"]
    first = result.json["culprits"][0]
    assert (first["order"], first["cause"], first["gain"]) == (0, "input_range", points[2] - points[1])
    quick = run(*call, "--object", "0", "--quick", "--csv", "--score", "0.3")
    rows = list(csv.DictReader(io.StringIO(quick.out)))
    assert 2 <= len(rows) < 30 and [row["cause"] for row in rows if row["cause"]] == ["input_range"]
    assert "The input quantizer covers [0, 1]" in run(*call, "--quick").out


def test_evaluate(run: Run, sample: Sample, dataset: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    call = ("evaluate", *models, "--dataset", dataset, "--images", sample.images, "--workers", "2")
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.EVALUATE, result.json)) == (0, [])
    assert (result.json["dataset"]["images"], result.json["gate"]) == (2, None)
    reference, variant = result.json["models"]
    assert result.json["losses"][0]["ap"]["value"] == pytest.approx(reference["ap"] - variant["ap"])
    assert all(row["truths"] > 0 for row in result.json["losses"][0]["per_class"])
    assert any(row["ap"] is None for row in reference["per_class"])  # most classes have no truths in two images
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [(row["model"], row["label"], row["ap"]) for row in rows] == [
        (model["name"], row["label"], "" if row["ap"] is None else str(row["ap"]))
        for model in result.json["models"]
        for row in model["per_class"]
    ]


@pytest.mark.parametrize(("limit", "status"), [("-1", 1), ("1", 0)])
def test_gate_result_and_exit_status(limit: str, status: int, run: Run, sample: Sample, dataset: Path) -> None:
    model = sample.models["int8"]
    call = ("evaluate", model, model, "--dataset", dataset, "--images", sample.images, "--max-ap-loss", limit)
    result = run(*call, "--json", "--workers", "1")
    assert result.status == status
    assert result.json["gate"]["passed"] is (status == 0)
    assert result.json["gate"]["failed"] == [f"{model.name} (2)"] * status  # the second model of that name


def test_a_loss_of_exactly_the_limit_passes(run: Run, sample: Sample, dataset: Path) -> None:
    model = sample.models["int8"]
    call = ("evaluate", model, model, "--dataset", dataset, "--images", sample.images, "--max-ap-loss", "0")
    result = run(*call, "--workers", "1")
    assert (result.status, "gate: at most 0.0 AP points lost: passed" in result.out) == (0, True)


def test_settings_options_apply_to_every_model(run: Run, sample: Sample) -> None:
    options = ("--mean", "1,2,3", "--resize", "letterbox", "--nms-iou", "0.4", "--max-detections", "7")
    result = run("info", sample.models["int8"], sample.models["float32"], *options, "--json", "--workers", "1")
    for model in result.json["models"]:
        assert (model["settings"]["mean"], model["settings"]["resize"]) == ([1, 2, 3], "letterbox")
        assert (model["settings"]["nms_iou"], model["settings"]["max_detections"]) == (0.6, 7)  # NMS is in the file
        assert (model["settings_from"]["mean"], model["settings_from"]["std"]) == ("given", "sidecar")
