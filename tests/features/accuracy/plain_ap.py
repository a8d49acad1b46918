"""Average precision without qviz: only LiteRT, OpenCV and pycocotools, as in sample_data/build/check_ap.py.

LiteRT uses one thread, as in qviz, because the result depends on the number of threads: with two, TensorFlow Lite's NMS
leaves out class 2 (see `qviz.features.inspection.checks`).
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from qviz.structures import Dataset


def network_input(path: Path) -> np.ndarray:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    square = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), (300, 300), interpolation=cv2.INTER_LINEAR)
    return (square.astype(np.float32) / 127.5 - 1)[None]


def results(model: Path, images: Path, truth: COCO) -> list[dict[str, Any]]:
    run = Interpreter(str(model), num_threads=1).get_signature_runner("serving_default")
    rows = []
    for image in truth.loadImgs(sorted(truth.getImgIds())):
        outputs = run(input=network_input(images / image["file_name"]))
        scale = np.array([image["height"], image["width"]] * 2)
        for i in range(int(outputs["num_detections"].item())):
            y1, x1, y2, x2 = (outputs["detection_boxes"][0, i] * scale).tolist()
            rows.append(
                {
                    "image_id": image["id"],
                    "category_id": int(outputs["detection_classes"][0, i]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": float(outputs["detection_scores"][0, i]),
                }
            )
    return rows


def evaluate(model: Path, images: Path, annotations: Path) -> COCOeval:
    """pycocotools' finished evaluation of a model, with its `stats` and `eval`."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        return _evaluated(truth, truth.loadRes(results(model, images, truth)))


def of_rows(dataset: Dataset, rows: np.ndarray) -> COCOeval:
    """pycocotools' finished evaluation. rows: (n, 7) image id, x, y, width, height, score, category id."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = _loaded(_content(dataset))
        return _evaluated(truth, truth.loadRes(rows) if len(rows) else _loaded({**truth.dataset, "annotations": []}))


def _evaluated(truth: COCO, results: COCO) -> COCOeval:
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _loaded(content: dict[str, Any]) -> COCO:
    loaded = COCO()
    loaded.dataset = content
    loaded.createIndex()
    return loaded


def _content(dataset: Dataset) -> dict[str, Any]:
    annotations = [
        {
            "image_id": image.id,
            "category_id": int(category),
            "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for image in dataset.images
        for (x1, y1, x2, y2), category, area, crowd in zip(
            image.boxes, image.category_ids, image.areas, image.is_crowd, strict=True
        )
    ]
    return {
        "info": {},
        "images": [{"id": image.id} for image in dataset.images],
        "annotations": [{**row, "id": number} for number, row in enumerate(annotations, start=1)],
        "categories": [{"id": category.id, "name": category.name} for category in dataset.categories],
    }


def ap_by_class(evaluation: COCOeval, annotations: Path) -> dict[str, float]:
    """Name -> AP in [0, 1], for classes that have annotated objects."""
    names = {category["id"]: category["name"] for category in json.loads(annotations.read_text())["categories"]}
    precision = evaluation.eval["precision"]
    tables = {names[k]: precision[:, :, i, 0, 2] for i, k in enumerate(evaluation.params.catIds)}
    return {name: float(table[table > -1].mean()) for name, table in tables.items() if (table > -1).any()}
