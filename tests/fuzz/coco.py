"""Reads COCO files as the server does, and compares all figures of AP with those of pycocotools and hotcoco."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from qviz.datasets.coco import parse_coco
from qviz.features.accuracy.dataset_health import ImageFacts, problems_of
from qviz.structures import Dataset, Detections
from tests.fuzz.peers import (
    check_equal,
    document_of,
    hotcoco_figures,
    own_figures,
    pycocotools_figures,
    rows_of,
)

ROOT = Path(__file__).resolve().parents[2]
SEED = 20261130
COUNTED_OTHERWISE = frozenset({"repeated_annotation_ids", "area_not_a_number"})
"""Codes of problems whose message says that pycocotools loses objects that qviz counts."""


@lru_cache(maxsize=1)
def coco_document() -> dict[str, Any]:
    """A COCO document of six images of the sample. One annotation is a crowd with run lengths, one has a polygon."""
    document = json.loads((ROOT / "sample_data/annotations.json").read_text())
    images = document["images"][:6]
    ids = {image["id"]: image for image in images}
    rows = [dict(row) for row in document["annotations"] if row["image_id"] in ids]
    width, height = ids[rows[0]["image_id"]]["width"], ids[rows[0]["image_id"]]["height"]
    rows[0] |= {"iscrowd": 1, "segmentation": {"counts": [width, width * (height - 1)], "size": [height, width]}}
    x, y, wide, tall = rows[1]["bbox"]
    rows[1]["segmentation"] = [[x, y, x + wide, y, x + wide, y + tall, x, y + tall]]
    return {"images": images, "annotations": rows, "categories": document["categories"]}


def read(data: bytes) -> str:
    """Read a file; returns the outcome. Raises AssertionError for a figure that a peer computes otherwise."""
    names = {image["file_name"]: b"" for image in coco_document()["images"]}
    dataset = parse_coco(data, "annotations.json", names)
    problems = problems_of(dataset, ImageFacts())
    json.dumps([(row.code, row.message, row.fix, row.count) for row in problems])
    if not dataset.categories:
        return "read, without classes"
    detections = _detections(dataset)
    figures = own_figures(dataset, detections)
    document, rows = document_of(dataset), rows_of(detections, {image.id: image.id for image in dataset.images})
    check_equal("pycocotools", figures, pycocotools_figures(document, rows))
    if (others := hotcoco_figures(document, rows)) is not None:
        check_equal("hotcoco", figures, others)
    if dataset.skipped:
        return "read without some entries; AP as the peers'"
    return _like_pycocotools(dataset, detections, figures, data)


def _detections(dataset: Dataset) -> dict[int, Detections]:
    """Detections near the objects of the unchanged file, with seeded scores. Images are identified by their names."""
    ids = {image.name: image.id for image in dataset.images}
    names = {image["id"]: image["file_name"] for image in coco_document()["images"]}
    rows: dict[int, list[tuple[list[float], float, int]]] = {}
    draw = np.random.default_rng(SEED)
    for row in coco_document()["annotations"]:
        x, y, width, height = row["bbox"]
        box = [x + draw.normal() * 3, y + draw.normal() * 3, x + width, y + height]
        detection = box, float(draw.random()), row["category_id"]
        if (image := ids.get(names[row["image_id"]])) is not None:
            rows.setdefault(image, []).append(detection)
    return {
        image: Detections.of([row[0] for row in some], [row[1] for row in some], [row[2] for row in some])
        for image, some in rows.items()
    }


def _like_pycocotools(dataset: Dataset, detections: dict[int, Detections], figures: list[float], data: bytes) -> str:
    """Compare with pycocotools on the file itself, which nothing was left out of. Raises AssertionError."""
    document = json.loads(data)
    if any(row.get("id") == 0 for row in document["annotations"]):
        return "read, where pycocotools loses the object with id 0"  # it marks "no match" with this id
    if COUNTED_OTHERWISE & {problem.code for problem in dataset.problems}:
        return "read, where pycocotools loses objects, as the remark says"
    if not {category.id for category in dataset.categories} <= {row.get("id") for row in document["categories"]}:
        return "read, with other ids of classes than the file"  # text, which pycocotools does not convert
    try:
        expected = pycocotools_figures(document, rows_of(detections, _own_ids(dataset)))
    except Exception:
        return "read, where pycocotools fails"
    check_equal("pycocotools on the file", figures, expected)
    return "read, AP as pycocotools' on the file"


def _own_ids(dataset: Dataset) -> dict[int, Any]:
    return {image.id: image.source_id for image in dataset.images}
