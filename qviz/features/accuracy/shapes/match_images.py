"""pycocotools' matching of keypoints or masks, in a worker: one `COCOeval.evaluateImg` per image, class and size.

`COCOeval` receives annotations and detections directly, without pycocotools' `COCO` objects, which print text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from qviz.features.comparison.shapes import sigmas_of
from qviz.structures import DatasetImage, Detections
from qviz.structures.detections import MASK_SIDE

Kind = Literal["keypoints", "masks"]
IOU_TYPES: Mapping[Kind, str] = {"keypoints": "keypoints", "masks": "segm"}
"""Kind -> pycocotools' name for its measure of overlap."""


@dataclass(frozen=True, slots=True)
class ShapeTask:
    """The objects to match.

    Attributes:
        categories: Ids of the categories that have such shapes, in ascending order.
        classes: Class id of the model -> category id.
        points: Number of keypoints of an object; 0 for masks.
    """

    kind: Kind
    categories: tuple[int, ...]
    classes: Mapping[int, int]
    points: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ShapeImage:
    """The annotations of one image and the detections of one model on it, without the image's bytes."""

    image: DatasetImage
    detections: Detections


@dataclass(frozen=True, slots=True, eq=False)
class MatchedGroup:
    """The matches of one image and category.

    Attributes:
        scores: (D,) in descending order.
        true, ignored: Size -> (T, D) bool, see `ClassTable`.
        truths: Size -> number of objects that count.
    """

    image: int
    category: int
    scores: np.ndarray
    true: Mapping[str, np.ndarray]
    ignored: Mapping[str, np.ndarray]
    truths: Mapping[str, int]


def match_job(task: ShapeTask, rows: Sequence[ShapeImage]) -> list[MatchedGroup]:
    """The matches of each image and category that has objects or detections, in the order of the images."""
    from pycocotools.cocoeval import COCOeval

    evaluation = COCOeval(iouType=IOU_TYPES[task.kind])
    if task.kind == "keypoints":
        evaluation.params.kpt_oks_sigmas = sigmas_of(task.points)
    overlaps = evaluation.computeOks if task.kind == "keypoints" else evaluation.computeIoU
    groups = []
    for row in rows:
        truths, detections = _truths(row.image, task), _detections(row, task)
        for category in task.categories:
            if truths[category] or detections[category]:
                key = row.image.id, category
                evaluation._gts[key], evaluation._dts[key] = truths[category], detections[category]
                evaluation.ious[key] = overlaps(*key)
                groups.append(_group(evaluation, key))
    return groups


def _group(evaluation: Any, key: tuple[int, int]) -> MatchedGroup:
    params = evaluation.params
    true, ignored, truths = {}, {}, {}
    for size, limits in zip(params.areaRngLbl, params.areaRng, strict=True):
        matched = evaluation.evaluateImg(*key, limits, params.maxDets[-1])
        ignored[size] = matched["dtIgnore"].astype(bool)
        true[size] = (matched["dtMatches"] > 0) & ~ignored[size]
        truths[size] = int(np.count_nonzero(matched["gtIgnore"] == 0))
    return MatchedGroup(*key, np.array(matched["dtScores"], np.float64), true, ignored, truths)


def _truths(image: DatasetImage, task: ShapeTask) -> dict[int, list[dict[str, Any]]]:
    """Category id -> its objects in pycocotools' format. Objects without the shape are marked as ignored."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for index, category in enumerate(image.category_ids.tolist()):
        x1, y1, x2, y2 = image.boxes[index].tolist()
        row: dict[str, Any] = {
            "id": index + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": float(image.areas[index]),
            "iscrowd": int(image.is_crowd[index]),
        }
        row |= _keypoints(image, index, task.points) if task.kind == "keypoints" else _mask(image, index)
        row["ignore"] = int(row["iscrowd"] or row.get("ignore", 0))
        rows[category].append(row)
    return rows


def _keypoints(image: DatasetImage, index: int, points: int) -> dict[str, Any]:
    values = image.keypoints[index] if image.keypoints is not None else None
    if values is None or len(values) != points:
        values = np.zeros((points, 3))
    return {"keypoints": values.ravel().tolist(), "ignore": int(not values[:, 2].any())}


def _mask(image: DatasetImage, index: int) -> dict[str, Any]:
    """The mask of an object. An object without a mask becomes a crowd that fills its box, so that detections in it
    are ignored.
    """
    counts, size = image.masks[index] if image.masks is not None else None, image.size
    assert size is not None, "only images whose size is known have masks"
    if counts is not None:
        return {"segmentation": {"size": [size[1], size[0]], "counts": counts}}
    return {"segmentation": runs(image.boxes[index], _FULL, size), "iscrowd": 1}


_FULL = np.full((MASK_SIDE, MASK_SIDE // 8), 255, np.uint8)


def _detections(row: ShapeImage, task: ShapeTask) -> dict[int, list[dict[str, Any]]]:
    """Category id -> the detections in the format of `COCO.loadRes`, with areas and without boxes."""
    from pycocotools import mask

    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    detections, size = row.detections, row.image.size
    for index in range(len(detections)):
        category = task.classes.get(int(detections.class_ids[index]))
        if category not in task.categories:
            continue
        one: dict[str, Any] = {"id": index + 1, "score": float(detections.scores[index])}
        if task.kind == "keypoints":
            assert detections.keypoints is not None, "a model with keypoints"
            values = detections.keypoints[index].astype(np.float64)
            one |= {"keypoints": values.ravel().tolist(), "area": float(np.prod(np.ptp(values[:, :2], axis=0)))}
        else:
            assert detections.masks is not None and size is not None, "a model with masks"
            counts = runs(detections.boxes[index], detections.masks[index], size)
            one |= {"segmentation": counts, "area": float(mask.area(counts))}
        rows[category].append(one)
    return rows


def runs(box: np.ndarray, mask: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask. It has the pixels of the image whose centres lie in cells of the object.

    Args:
        box: (4,) xyxy in pixels.
        mask: Packed bits of the mask, one row of `Detections.masks`.
        size: (width, height) of the image.
    """
    from pycocotools import mask as coco_masks

    width, height = size
    left, columns = _cells(box[0], box[2], width)
    top, rows = _cells(box[1], box[3], height)
    edges = [np.empty(0, np.int64)]
    if len(columns) and len(rows):
        cells = np.unpackbits(mask, axis=1)
        for cell in np.unique(columns):
            column = np.concatenate([[0], cells[rows, cell], [0]]).astype(np.int8)
            pixels = left + np.flatnonzero(columns == cell)
            edges.append((pixels[:, None] * height + top + np.flatnonzero(np.diff(column))).ravel())
    places, times = np.unique(np.concatenate(edges), return_counts=True)
    # a run that reaches the bottom of a column continues at the top of the next one
    ends = places[(times == 1) & (places < width * height)]
    counts = np.diff(np.concatenate([[0], ends, [width * height]]))
    return coco_masks.frPyObjects({"counts": counts.tolist(), "size": [height, width]}, height, width)


def _cells(start: float, end: float, side: int) -> tuple[int, np.ndarray]:
    """(index of the first pixel whose centre lies between start and end; for this and each further pixel, its cell).

    side: number of pixels of the image along this axis.
    """
    first, last = (int(np.clip(np.ceil(edge - 0.5), 0, side)) for edge in (start, end))
    shares = (np.arange(first, last) + 0.5 - start) / max(end - start, 1e-6)
    return first, np.clip(np.floor(shares * MASK_SIDE).astype(np.int64), 0, MASK_SIDE - 1)
