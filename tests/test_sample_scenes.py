"""The composed scenes of the sample: enough boxes, correct boxes, complete credits, compatible licences."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy import evaluate
from qviz.features.detection.models import LoadedModel
from tests.conftest import Sample

GPL = "GPL-2.0-or-later"
FREE_OF_TERMS = {"Public domain", "CC0-1.0"}
ALLOWED = FREE_OF_TERMS | {GPL, "CC-BY-2.0", "CC-BY-2.5", "CC-BY-4.0", "CC-BY-SA-4.0"}


@pytest.fixture(scope="module")
def folder(sample: Sample) -> Path:
    return sample.folder / "scenes"


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "annotations.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def credits(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "credits.json").read_text(encoding="utf-8"))


def test_there_are_enough_scenes_boxes_and_classes(content: dict[str, Any]) -> None:
    assert len(content["images"]) >= 100
    assert len(content["annotations"]) >= 250
    assert len({box["category_id"] for box in content["annotations"]}) >= 25


def test_every_scene_has_its_file_its_size_and_a_box(content: dict[str, Any], folder: Path) -> None:
    assert {image["file_name"] for image in content["images"]} == {path.name for path in folder.glob("*.jpg")}
    assert {image["id"] for image in content["images"]} == {box["image_id"] for box in content["annotations"]}
    for image in content["images"]:
        with Image.open(folder / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])


def test_boxes_lie_inside_their_image_and_fit_the_visible_object(content: dict[str, Any]) -> None:
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for box in content["annotations"]:
        x, y, width, height = box["bbox"]
        assert 0 <= x < x + width <= sizes[box["image_id"]][0], box
        assert 0 <= y < y + height <= sizes[box["image_id"]][1], box
        assert 0 < box["area"] <= width * height, box


def test_categories_equal_those_of_the_photographs_and_names_are_unique(
    content: dict[str, Any], sample: Sample
) -> None:
    photographs = json.loads(sample.annotations.read_text(encoding="utf-8"))
    assert content["categories"] == photographs["categories"]
    names = [image["file_name"] for source in (content, photographs) for image in source["images"]]
    assert len(set(names)) == len(names)


def test_qviz_reads_every_box(content: dict[str, Any], folder: Path) -> None:
    dataset = read_coco(folder / "annotations.json", folder)
    assert len(dataset.images) == len(content["images"])
    assert sum(len(image.boxes) for image in dataset.images) == len(content["annotations"])


def test_every_scene_and_every_part_is_credited(content: dict[str, Any], credits: dict[str, Any], folder: Path) -> None:
    text = (folder / "LICENSES.md").read_text(encoding="utf-8")
    assert credits.keys() == {image["file_name"] for image in content["images"]}
    for name, credit in credits.items():
        assert f"| `{name}` | {credit['licence']} |" in text
        for part in credit["parts"]:
            assert f"| `{part['key']}` | [{part['title']}]({part['source']}) | {part['author']} | " in text
            assert part["author"] and part["source"] and part["package"]


def test_licences_within_a_scene_are_compatible(content: dict[str, Any], credits: dict[str, Any]) -> None:
    licences = {entry["id"]: entry["name"] for entry in content["licenses"]}
    for image in content["images"]:
        credit = credits[image["file_name"]]
        parts = {part["licence"] for part in credit["parts"]}
        assert parts <= ALLOWED, credit
        assert GPL not in parts or parts <= FREE_OF_TERMS | {GPL, "CC-BY-4.0"}, credit
        assert credit["licence"] == licences[image["license"]]
        assert credit["licence"] in parts
        assert credit["licence"] == GPL or GPL not in parts, credit
        assert credit["licence"] not in FREE_OF_TERMS or parts <= FREE_OF_TERMS, credit


def test_the_licence_texts_lie_beside_the_pictures(folder: Path) -> None:
    assert "not under the code's Apache-2.0" in (folder / "LICENSES.md").read_text(encoding="utf-8")
    assert "GNU GENERAL PUBLIC LICENSE" in (folder / "GPL-2.0.txt").read_text(encoding="utf-8")


def test_the_float_model_detects_the_objects(folder: Path, loaded: dict[str, LoadedModel], engine: LocalEngine) -> None:
    result = evaluate(Context(engine), [loaded["float32"]], read_coco(folder / "annotations.json", folder))
    assert result.models[0].ap >= 0.35
