"""Ids of a COCO file, AP and COCO's twelve lines against pycocotools, on scenes of squares with made-up detections."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from qviz.datasets.coco import parse_coco
from qviz.features.accuracy.ap import AveragePrecision, average_precision, coco_lines
from qviz.structures import Dataset, Detections
from tests.squares import datasets, scenes

Coco = dict[str, Any]


def unchanged(coco: Coco) -> Coco:
    return coco


def floats_everywhere(coco: Coco) -> Coco:
    """As pandas writes a table with a gap."""
    for part, keys in (
        ("images", ("id",)),
        ("annotations", ("id", "image_id", "category_id")),
        ("categories", ("id",)),
    ):
        coco[part] = [{**row, **{key: float(row[key]) for key in keys}} for row in coco[part]]
    return coco


def backwards(coco: Coco) -> Coco:
    """Images are not in the order of their ids: equal scores follow the ids."""
    return {**coco, "images": coco["images"][::-1]}


def large_ids(coco: Coco) -> Coco:
    """Ids as COCO has them: large, with gaps."""
    for row in coco["images"]:
        row["id"] = 10_000 * row["id"] + 7
    for row in coco["annotations"]:
        row["image_id"] = 10_000 * row["image_id"] + 7
    return coco


def with_crowds(coco: Coco) -> Coco:
    for row in coco["annotations"][::5]:
        row["iscrowd"] = 1
    return coco


def category_twice(coco: Coco) -> Coco:
    return {**coco, "categories": [*coco["categories"], {"id": 2, "name": "emerald"}]}


VARIANTS: list[Callable[[Coco], Coco]] = [
    unchanged,
    datasets.image_id_twice,
    datasets.file_twice,
    datasets.float_image_ids,
    datasets.string_image_ids,
    datasets.every_box_twice,
    floats_everywhere,
    backwards,
    large_ids,
    with_crowds,
    category_twice,
]


def detections_of(dataset: Dataset) -> dict[int, Detections]:
    """Objects that are moved a little, missed, confused and repeated, with many equal scores."""
    rng = np.random.default_rng(0)
    detections = {}
    for image in dataset.images:
        boxes = np.repeat(image.boxes + rng.integers(-6, 7, image.boxes.shape), 3, axis=0)
        boxes += rng.integers(-9, 10, boxes.shape)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        classes = np.repeat(image.category_ids - 1, 3)
        classes = np.where(rng.random(len(classes)) < 0.2, rng.integers(0, 3, len(classes)), classes)
        scores = rng.integers(1, 6, len(classes)) / 5
        detections[image.id] = Detections.of(boxes, scores, classes)
    return detections


def both(coco: Coco, folder: Path) -> tuple[AveragePrecision, list[float], list[str]]:
    """(ours, pycocotools' twelve figures, its lines)."""
    dataset = parse_coco(json.dumps(coco).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    detections, classes = detections_of(dataset), {0: 1, 1: 2, 2: 3}
    path = folder / "x.json"
    path.write_text(json.dumps(coco))
    sources = {image.id: image.source_id for image in dataset.images}
    results = [
        {"image_id": sources[number], "category_id": classes[int(class_id)], "bbox": box, "score": score}
        for number, one in detections.items()
        for box, score, class_id in zip(_xywh(one.boxes), one.scores.tolist(), one.class_ids, strict=True)
    ]
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        truths = COCO(str(path))
        run = COCOeval(truths, truths.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
    with contextlib.redirect_stdout(printed):
        run.summarize()
    return (
        average_precision("m", dataset, detections, classes).figures,
        run.stats.tolist(),
        printed.getvalue().splitlines(),
    )


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64).tolist()


@pytest.mark.parametrize("variant", VARIANTS)
def test_ap_and_the_twelve_lines_are_those_of_pycocotools(variant: Callable[[Coco], Coco], tmp_path: Path) -> None:
    figures, stats, lines = both(variant(scenes.coco()), tmp_path)
    fields = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar_1", "ar_10", "ar")
    values = [getattr(figures, name) for name in (*fields, "ar_small", "ar_medium", "ar_large")]
    assert values == pytest.approx([None if value < 0 else value for value in stats], abs=1e-9)
    assert list(coco_lines(figures)) == lines
    assert 0.05 < stats[0] < 0.9


def test_an_image_listed_twice_counts_once() -> None:
    coco = datasets.image_id_twice(scenes.coco())
    dataset = parse_coco(json.dumps(coco).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    assert (len(dataset.images), dataset.annotations) == (8, 32)
    (problem,) = dataset.problems
    assert (problem.code, problem.count) == ("repeated_image_ids", 2)
    assert dataset.skipped == ("2 images whose id is listed again",)


MIXED = [
    (datasets.mixed_image_ids, "32 annotations whose image id is text where the images have numbers"),
    (datasets.string_category_ids, "32 annotations whose category id is text where the categories have numbers"),
]


@pytest.mark.parametrize(("variant", "reason"), MIXED)
def test_ids_of_two_types_are_left_out_with_the_reason(variant: Callable[[Coco], Coco], reason: str) -> None:
    dataset = parse_coco(json.dumps(variant(scenes.coco())).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    assert (dataset.annotations, dataset.skipped) == (0, (reason,))
    (problem,) = dataset.problems
    assert (problem.code, problem.count, problem.serious) == ("mixed_id_types", 32, True)
    assert problem.examples[0].startswith("s00.png: ") or "image_id '1'" in problem.examples[0]


def test_category_ids_that_are_all_texts_are_read() -> None:
    coco = datasets.string_category_ids(scenes.coco())
    for row in coco["categories"]:
        row["id"] = str(row["id"])
    dataset = parse_coco(json.dumps(coco).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    assert ([row.id for row in dataset.categories], dataset.annotations) == ([1, 2, 3], 32)
    assert dataset.problems == ()


def test_repeated_annotation_ids_all_count_and_are_named() -> None:
    coco = scenes.coco()
    for row in coco["annotations"]:
        row["id"] = 0
    dataset = parse_coco(json.dumps(coco).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    assert dataset.annotations == 32
    assert [(problem.code, problem.count) for problem in dataset.problems] == [("repeated_annotation_ids", 31)]


OFF_BY_ONE = [
    ("category_id", 1, "too high"),
    ("category_id", -1, "too low"),
    ("image_id", 1, "too high"),
    ("image_id", -1, "too low"),
]


@pytest.mark.parametrize(("key", "step", "words"), OFF_BY_ONE)
def test_ids_that_are_off_by_one(key: str, step: int, words: str) -> None:
    coco = scenes.coco()
    for row in coco["annotations"]:
        row[key] += step
    dataset = parse_coco(json.dumps(coco).encode(), "x.json", dict.fromkeys(scenes.NAMES, b""))
    problem = dataset.problems[0]
    assert (problem.code, problem.count, problem.serious) == (f"{key}s_off_by_one", 32, True)
    assert words in problem.message
