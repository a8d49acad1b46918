"""pycocotools' matching, some images at a time, kept as compact tables: its own rows would take 1 kB a detection.

Images are matched apart from each other, so that the parts give what the whole would give.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from qviz.analysis.match_tables import ClassTable, MatchTables
from qviz.structures import Dataset, DatasetImage, Detections

AT_ONCE = 100
"""Images; each is a thousand small dicts while it is matched."""
SIZES = ("all", "small", "medium", "large")
"""pycocotools' area ranges, in its order."""
MOST = 100
"""Detections an image."""


def match(dataset: Dataset, rows: np.ndarray, sizes: Sequence[str] = SIZES) -> dict[str, MatchTables]:
    """size -> tables of the dataset's categories by rising id. rows: as `result_rows` makes them."""
    categories = sorted(category.id for category in dataset.categories)
    gathered = {(size, category): _Rows() for size in sizes for category in categories}
    at = np.argsort(rows[:, 0], kind="stable")
    rows = rows[at]
    start = 0
    images = iter(sorted(dataset.images, key=lambda image: image.id))  # as pycocotools sorts them
    recalls, thresholds = _levels()
    while part := list(islice(images, AT_ONCE)):
        first, last = np.searchsorted(rows[:, 0], [part[0].id, part[-1].id + 1])
        _gather(gathered, replace(dataset, images=tuple(part)), rows[first:last], sizes, start)
        start += len(part)
    return {
        size: MatchTables(tuple(gathered[size, k].table(start, thresholds) for k in categories), recalls, start)
        for size in sizes
    }


def _levels() -> tuple[np.ndarray, int]:
    """(the recall levels, how many IoU thresholds)."""
    from pycocotools.cocoeval import Params

    said = Params("bbox")
    return np.asarray(said.recThrs), len(said.iouThrs)


@dataclass(slots=True)
class _Rows:
    """What one class at one size has gathered; truths: (image, count) pairs."""

    scores: list[np.ndarray] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    true: list[np.ndarray] = field(default_factory=list)
    ignored: list[np.ndarray] = field(default_factory=list)
    truths: list[tuple[int, int]] = field(default_factory=list)

    def add(self, image: int, row: dict[str, Any]) -> None:
        """One of COCOeval's evalImgs."""
        if truths := int(np.count_nonzero(np.asarray(row["gtIgnore"]) == 0)):
            self.truths.append((image, truths))
        if scores := row["dtScores"][:MOST]:
            matched, ignored = np.asarray(row["dtMatches"]) != 0, np.asarray(row["dtIgnore"], bool)
            self.scores.append(np.asarray(scores, np.float64))
            self.images.append(np.full(len(scores), image, np.int32))
            self.true.append((matched & ~ignored)[:, :MOST])
            self.ignored.append(ignored[:, :MOST])

    def pack(self) -> None:
        """One array in place of many small ones, which take ten times their content."""
        if len(self.scores) > 1:
            self.scores, self.images = [np.concatenate(self.scores)], [np.concatenate(self.images)]
            self.true, self.ignored = [np.concatenate(self.true, axis=1)], [np.concatenate(self.ignored, axis=1)]

    def table(self, images: int, thresholds: int) -> ClassTable:
        counts = np.zeros(images, np.uint16)
        for image, count in self.truths:
            counts[image] = count
        none = np.empty((thresholds, 0), bool)
        scores = np.concatenate([np.empty(0), *self.scores])
        order = np.argsort(-scores, kind="mergesort")
        return ClassTable(
            scores[order],
            np.concatenate([np.empty(0, np.int32), *self.images])[order],
            np.concatenate([none, *self.true], axis=1)[:, order],
            np.concatenate([none, *self.ignored], axis=1)[:, order],
            counts,
        )


def _gather(
    gathered: Mapping[tuple[str, int], _Rows], part: Dataset, rows: np.ndarray, sizes: Sequence[str], start: int
) -> None:
    """Match some images; `start` is the number of the first."""
    shown = {int(category) for image in part.images for category in image.category_ids} | set(rows[:, 6].astype(int))
    if not shown:
        return
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = _prepared(part, rows)
        said = evaluation.params
        said.catIds = sorted(shown & {category.id for category in part.categories})
        said.areaRng = [said.areaRng[said.areaRngLbl.index(size)] for size in sizes]
        said.areaRngLbl, said.maxDets = list(sizes), [MOST]
        evaluation.evaluate()
    found = iter(evaluation.evalImgs)  # by category, size and image
    for category in said.catIds:
        for size in sizes:
            for image, row in enumerate(islice(found, len(part.images)), start=start):
                if row is not None:
                    gathered[size, category].add(image, row)
            gathered[size, category].pack()


def _prepared(dataset: Dataset, rows: np.ndarray) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = COCO()
    truths.dataset = as_coco(dataset.images, [category.id for category in dataset.categories])
    truths.createIndex()
    return COCOeval(truths, truths.loadRes(rows) if len(rows) else _no_results(truths), "bbox")


def _no_results(truths: Any) -> Any:
    """pycocotools' loadRes fails on an empty list."""
    from pycocotools.coco import COCO

    found = COCO()
    found.dataset = {**truths.dataset, "annotations": []}
    found.createIndex()
    return found


def as_coco(images: Iterable[DatasetImage], categories: Iterable[int]) -> dict[str, Any]:
    """A COCO file's content."""
    images = list(images)
    annotations: list[dict[str, Any]] = []
    for image in images:
        for box, category, crowd, area in zip(
            image.boxes, image.category_ids, image.is_crowd, image.areas, strict=True
        ):
            x1, y1, x2, y2 = (float(value) for value in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would read as "no match" in COCOeval
                    "image_id": image.id,
                    "category_id": int(category),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "info": {},
        "images": [{"id": image.id} for image in images],
        "annotations": annotations,
        "categories": [{"id": category, "name": str(category)} for category in categories],
    }


def result_rows(detections: Mapping[int, Detections], classes: Mapping[int, int]) -> np.ndarray:
    """(n, 7) image id, x, y, w, h, score, category id, as `COCO.loadRes` takes them; unknown classes left out."""
    rows = [np.empty((0, 7))]
    for image_id, found in detections.items():
        found = found[np.isin(found.class_ids, list(classes))]
        boxes = found.boxes.astype(np.float64)
        categories = [classes[int(class_id)] for class_id in found.class_ids]
        block = np.column_stack([np.full(len(found), image_id), boxes, found.scores, categories])
        block[:, 3:5] -= block[:, 1:3]
        rows.append(block)
    return np.concatenate(rows)
