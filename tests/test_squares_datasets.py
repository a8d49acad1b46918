"""The scenes of coloured squares, and what each variant of their annotations, labels and folders changes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from qviz.engine import LocalEngine
from tests.squares import Squares, datasets, scenes
from tests.test_squares import CASES, RIGHT, beside_the_cases, qviz_ap


def pixels_of(path: Path) -> np.ndarray:
    """RGB, in the type that the file has."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return pixels[..., ::-1]


def test_scenes() -> None:
    pixels, coco = scenes.images(), scenes.coco()
    assert pixels.shape == (8, 320, 320, 3)
    assert (len(coco["images"]), len(coco["annotations"]), len(coco["categories"])) == (8, 32, 3)
    for row in coco["annotations"]:
        x, y, width, height = row["bbox"]
        square = pixels[row["image_id"] - 1, y : y + height, x : x + width]
        assert np.median(square, axis=(0, 1)).argmax() == row["category_id"] - 1


VARIANTS = [value for value in vars(datasets).values() if getattr(value, "__annotations__", {}).get("return") == "Coco"]
PUBLIC = [variant for variant in VARIANTS if not variant.__name__.startswith("_")]


@pytest.mark.parametrize("variant", PUBLIC)
def test_a_variant_changes_a_copy(variant: datasets.Variant) -> None:
    coco = scenes.coco()
    changed = variant(coco)
    assert coco == scenes.coco()
    assert json.dumps(changed) != json.dumps(coco)


def first(coco: datasets.Coco, key: str) -> dict[str, Any]:
    return dict(coco[key][0])


def test_what_the_variants_change() -> None:
    coco = scenes.coco()
    assert first(datasets.corner_boxes(coco), "annotations")["bbox"] == [61, 257, 93, 289]
    assert first(datasets.normalised_boxes(coco), "annotations")["bbox"] == [0.190625, 0.803125, 0.1, 0.1]
    assert {row["category_id"] for row in datasets.category_off_by_one(coco)["annotations"]} == {0, 1, 2}
    assert len(datasets.every_box_twice(coco)["annotations"]) == 64
    for variant, ids, boxes in ((datasets.image_id_twice, 8, 32), (datasets.file_twice, 10, 40)):
        changed = variant(coco)
        assert len(changed["images"]) == 10
        assert (len({row["id"] for row in changed["images"]}), len(changed["annotations"])) == (ids, boxes)
    types = {
        variant: (type(first(changed, "images")["id"]), type(first(changed, "annotations")["image_id"]))
        for variant in (datasets.float_image_ids, datasets.string_image_ids, datasets.mixed_image_ids)
        for changed in [variant(coco)]
    }
    assert list(types.values()) == [(int, float), (str, str), (int, str)]
    assert first(datasets.string_category_ids(coco), "annotations")["category_id"] == "2"
    names = Counter(row["name"] for row in datasets.two_categories_one_name(coco)["categories"])
    assert names == {"red": 2, "green": 1}
    assert first(datasets.before_resizing(coco), "images")["width"] == 640
    assert first(datasets.before_resizing(coco), "annotations")["bbox"] == [122, 514, 64, 64]


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (datasets.windows_paths, "C:\\data\\train\\s00.png"),
        (datasets.windows_relative_paths, "images\\s00.png"),
        (datasets.other_suffix, "s00.jpg"),
        (datasets.upper_case, "S00.PNG"),
        (datasets.no_suffix, "s00"),
    ],
)
def test_file_names(variant: datasets.Variant, expected: str) -> None:
    assert first(variant(scenes.coco()), "images")["file_name"] == expected


def test_yolo_folders(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    model = squares.model("reference")
    right = datasets.write_yolo(tmp_path / "right")
    assert qviz_ap(engine, squares, model, dataset=right, dataset_images=None) == pytest.approx([RIGHT], abs=0.01)
    label = "labels/val/s00.txt"
    assert (right.parent / label).read_text().splitlines()[0] == "1 0.240625 0.853125 0.100000 0.100000"
    from_one = datasets.write_yolo(tmp_path / "from_one", first_class=1).parent / label
    assert from_one.read_text().splitlines()[0] == "2 0.240625 0.853125 0.100000 0.100000"
    corners = datasets.write_yolo(tmp_path / "corners", corners=True).parent / label
    assert corners.read_text().splitlines()[0] == "1 0.190625 0.803125 0.290625 0.903125"
    incomplete = datasets.write_yolo(tmp_path / "incomplete", without_label_file=2).parent
    assert (len(list(incomplete.rglob("*.png"))), len(list(incomplete.rglob("*.txt")))) == (8, 6)


def test_other_folders(tmp_path: Path) -> None:
    cameras = json.loads(datasets.write_two_cameras(tmp_path).read_text())
    paths = [Path(row["file_name"]) for row in cameras["images"]]
    assert (len({path.name for path in paths}), {path.parent.name for path in paths}) == (4, {"camA", "camB"})
    assert all((tmp_path / "images" / path).is_file() for path in paths)
    datasets.write_dark_16_bit(tmp_path / "dark")
    dark = pixels_of(tmp_path / "dark" / "s00.png")
    np.testing.assert_array_equal(dark, scenes.images()[0].astype(np.uint16) * 16)


def test_label_files() -> None:
    names = datasets.LABELS_80.splitlines()
    assert (len(names), names[0], names[39], names[78]) == (80, "red", "green", "blue")
    assert datasets.NUMBERED_LABELS_WITH_GAPS.splitlines() == ["0: red", "39: green", "78: blue"]


CASE_ANNOTATIONS = {
    "bbox_xyxy": datasets.corner_boxes,
    "bbox_normalised": datasets.normalised_boxes,
    "category_off_by_one": datasets.category_off_by_one,
    "every_box_twice": datasets.every_box_twice,
    "windows_paths": datasets.windows_paths,
    "two_categories_one_name": datasets.two_categories_one_name,
}


@beside_the_cases
def test_the_scenes_are_like_the_cases() -> None:
    assert json.loads((CASES / "annotations.json").read_text()) == scenes.coco()
    assert (CASES / "end_to_end" / "labels80.txt").read_text().split() == datasets.LABELS_80.split()
    for name, pixels in zip(scenes.NAMES, scenes.images(), strict=True):
        original = pixels_of(CASES / "images" / name).astype(float)
        np.testing.assert_allclose(cv2.blur(pixels.astype(float), (16, 16)), cv2.blur(original, (16, 16)), atol=5)


@beside_the_cases
@pytest.mark.parametrize("case", CASE_ANNOTATIONS)
def test_annotations_are_like_their_case(case: str) -> None:
    original = json.loads((CASES / "annotations" / f"{case}.json").read_text())
    assert CASE_ANNOTATIONS[case](scenes.coco()) == original
