"""Keypoints and masks of annotated objects: read, or counted as unreadable, and never given to C code unchecked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from qviz.datasets.annotated import read_dataset
from qviz.datasets.coco import parse_coco
from qviz.datasets.object_shapes import (
    ShapeReader,
    checked_keypoints,
    checked_masks,
    mask_of_runs,
    runs_of_text,
    shapes_document,
)
from qviz.structures import Dataset

SIZE = (40, 30)
SQUARE = [[5, 5, 25, 5, 25, 20, 5, 20]]
DRAWN = np.zeros(SIZE[::-1], np.uint8)
DRAWN[5:20, 5:25] = 1
COMPRESSED: bytes = coco_masks.encode(np.asfortranarray(DRAWN))["counts"]


def coco(**fields: Any) -> Dataset:
    row = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 15], **fields}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [row],
        "categories": [{"id": 1, "name": "square"}],
    }
    return parse_coco(json.dumps(document).encode(), "a.json", {"a.png": b""})


@pytest.mark.parametrize(
    "segmentation",
    [
        SQUARE,
        {"size": [30, 40], "counts": COMPRESSED.decode()},
        {
            "size": [30, 40],
            "counts": np.diff(np.flatnonzero(np.diff(DRAWN.T.ravel(), prepend=2)), append=1200).tolist(),
        },
    ],
)
def test_polygons_and_run_lengths(segmentation: Any) -> None:
    (image,) = coco(segmentation=segmentation).images
    assert image.masks is not None
    np.testing.assert_array_equal(coco_masks.decode({"size": [30, 40], "counts": image.masks[0]}), DRAWN)


@pytest.mark.parametrize(
    "segmentation",
    [
        "text",
        [[1, 2, 3]],
        [[1, 2, "3", 4, 5, 6]],
        [[0, 0, 1e9, 0, 1e9, 1e9]],
        [[0, 0, float("nan"), 0, 3, 3]],
        {"size": [30, 40], "counts": [1200, 5]},
        {"size": [30, 40], "counts": [-1, 1201]},
        {"size": [3, 4], "counts": [12]},
        {"size": [30, 40], "counts": COMPRESSED.decode()[:-1] + "~"},
        {"size": [30, 40], "counts": "o" * 100},
        {"size": [30, 40], "counts": [10**30]},
    ],
)
def test_a_damaged_mask_leaves_the_box(segmentation: Any) -> None:
    dataset = coco(segmentation=segmentation)
    assert dataset.annotations == 1 and dataset.images[0].masks is None
    (problem,) = dataset.problems
    assert (problem.code, problem.count, problem.serious) == ("unreadable_shapes", 1, False)
    assert problem.message == "1 object has a mask that cannot be read: only the box counts."


@pytest.mark.parametrize("keypoints", [[1, 2], "x", [1, 2, None], [1, 2, 1e300], [0, 0, 2] * 1001])
def test_damaged_keypoints_leave_the_box(keypoints: Any) -> None:
    dataset = coco(keypoints=keypoints)
    assert dataset.images[0].keypoints is None
    assert [problem.message for problem in dataset.problems] == [
        "1 object has keypoints that cannot be read: only the box counts."
    ]


def test_without_shapes_there_is_no_problem() -> None:
    dataset = coco(segmentation=[], keypoints=[0, 0, 0])
    assert (dataset.images[0].masks, dataset.images[0].keypoints, dataset.problems) == (None, None, ())


def test_long_outlines_are_not_drawn() -> None:
    """A few bytes per point could otherwise cost a second each."""
    reader = ShapeReader(outline=100)
    masks = reader.masks([SQUARE, SQUARE], SIZE, "a.png")
    assert masks is not None and [row is None for row in masks] == [False, True]


def test_run_lengths_as_text() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        picture = np.asfortranarray(random.random(SIZE[::-1]) < random.random(), np.uint8)
        text = coco_masks.encode(picture)["counts"].decode()
        runs = runs_of_text(text)
        assert runs is not None and sum(runs) == picture.size
        assert mask_of_runs(text, [30, 40], SIZE) == text.encode()


@pytest.mark.parametrize("shape", ["[2, 3]", "[2, 2]", "\n- 2\n- 3"])
def test_label_files_of_poses(tmp_path: Path, shape: str) -> None:
    point_size = 2 if "2, 2" in shape else 3
    points = [0.25, 0.5, 2, 0, 0, 0] if point_size == 3 else [0.25, 0.5, 0, 0]
    row = " ".join(map(str, [0, 0.5, 0.5, 0.4, 0.4, *points]))
    (image,) = yolo(tmp_path, f"kpt_shape: {shape}\n", row).images
    assert image.keypoints is not None
    np.testing.assert_allclose(image.keypoints[0], [[10, 15, 2], [0, 0, 0]])


def test_label_files_of_segments(tmp_path: Path) -> None:
    shares = (np.array(SQUARE[0]) / np.tile(SIZE, 4)).tolist()
    (image,) = yolo(tmp_path, "", " ".join(map(str, [0, *shares]))).images
    assert image.masks is not None
    np.testing.assert_array_equal(coco_masks.decode({"size": [30, 40], "counts": image.masks[0]}), DRAWN)


def yolo(folder: Path, lines: str, row: str) -> Dataset:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((*SIZE[::-1], 3), np.uint8))
    (folder / "labels" / "a.txt").write_text(row)
    (folder / "data.yaml").write_text(f"val: images\nnames: [square]\n{lines}")
    return read_dataset(folder)


def test_a_saved_project_has_them() -> None:
    keypoints, masks = np.empty(2, object), np.empty(2, object)
    keypoints[0], masks[1] = np.array([[1.0, 2.0, 2.0]]), COMPRESSED
    document = json.loads(json.dumps(shapes_document(keypoints, masks)))
    again = checked_keypoints(document["keypoints"], 2), checked_masks(document["masks"], 2, SIZE)
    assert again[0] is not None and again[1] is not None
    np.testing.assert_array_equal(again[0][0], keypoints[0])
    assert again[0][1] is None and again[1].tolist() == [None, COMPRESSED]
    assert checked_masks([document["masks"][1]] * 3, 2, SIZE) is None
    assert checked_masks(["damaged", None], 2, SIZE) is None
