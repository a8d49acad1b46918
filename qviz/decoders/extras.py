"""The columns that YOLO models for poses, masks and rotated boxes return besides boxes and scores, and their decoding.

    pose      keypoints, x, y and perhaps a visibility each, in the unit of the boxes. The exporter's notes state their
              number; without notes, 51 columns are taken as COCO's 17 x 3 of one class
    segment   coefficients, one for each prototype in a second output, [1, h, w, m] or [1, m, h, w]. A mask is where the
              sum of the prototypes, weighted by the coefficients, is positive inside of the box
    obb       the angle in radians, from the x axis towards the y axis; the box is rotated by it around its centre

Source: ultralytics/nn/modules/head.py (Pose, Segment, OBB) and utils/ops.py (process_mask).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.decoders.head import Decoded, Head
from qviz.decoders.yolo import NORMALISED_UP_TO
from qviz.structures import Graph, Tensor
from qviz.structures.detections import MASK_SIDE
from qviz.structures.polygons import rotated

COCO_POSE = 17 * 3
PROTOTYPES = (16, 32, 64)
TASKS = ("pose", "segment", "obb")


@dataclass(frozen=True, slots=True, eq=False)
class Extras:
    """The columns after the scores.

    Attributes:
        task: `pose`, `segment` or `obb`; empty if there are no such columns.
        columns: Number of these columns.
        size: Number of values of one keypoint, 2 or 3; 0 for other tasks.
        prototypes: The output with the prototypes of masks; None for other tasks.
    """

    task: str
    columns: int
    size: int = 0
    prototypes: Tensor | None = None


NO_EXTRAS = Extras("", 0)


def split_outputs(graph: Graph) -> tuple[list[Tensor], list[Tensor]]:
    """(outputs that may be prototypes of masks, other outputs)."""
    tensors = graph.output_tensors()
    prototypes = [tensor for tensor in tensors if prototype_count(tensor)]
    return prototypes, [tensor for tensor in tensors if tensor not in prototypes]


def prototype_count(tensor: Tensor) -> int:
    """The number of mask prototypes in a tensor; 0 if it is another output."""
    shape = tensor.shape
    if len(shape) != 4 or shape[0] not in (1, -1):
        return 0
    return next((side for side in (shape[3], shape[1]) if side in PROTOTYPES), 0)


def extras_of(graph: Graph, free: int, prototypes: Sequence[Tensor], labelled: bool = True) -> Extras | None:
    """The columns after the scores; None if the head has none, or if their meaning is not known.

    Args:
        free: Number of columns besides the box, i.e. of class scores and extras together.
        labelled: Whether each class has a column, as in rows before NMS.
    """
    notes = graph.notes
    if prototypes:
        return Extras("segment", prototype_count(prototypes[0]), 0, prototypes[0]) if len(prototypes) == 1 else None
    if notes.task == "obb":
        return Extras("obb", 1)
    if notes.task not in ("", "pose"):
        return None
    count, size = notes.keypoints, notes.keypoint_size
    scores = notes.classes if labelled else 2
    if not count and notes.task == "pose" and scores:
        count = free - scores
    if not count and free - (1 if labelled else 2) == COCO_POSE and notes.classes in (0, 1):
        count, size = COCO_POSE, 3
    size = size or (3 if count % 3 == 0 else 2)
    return Extras("pose", count, size) if count > 0 and count % size == 0 else None


def pixel_unit(centres: np.ndarray, head: Head) -> np.ndarray:
    """(2,) pixels per unit of x and y: the input's size if no centre (n, 2) is above 2, else 1."""
    normalised = float(centres.max(initial=0)) <= NORMALISED_UP_TO
    return np.array([head.width, head.height] if normalised else [1, 1], np.float32)


def keypoints_of(values: np.ndarray, size: int, head: Head) -> np.ndarray:
    """(n, k, 3) keypoints, x and y in pixels and visibility in [0, 1], from the columns (n, k * size).

    The visibility is 1 if the columns have none. The unit of keypoints may differ from that of boxes: older exports of
    Ultralytics have normalised boxes but keypoints in pixels. Keypoints are normalised if their median is at most 2.
    """
    points = values.reshape(len(values), values.shape[1] // size, size)  # also of no rows
    filled = points[points.any(axis=(1, 2))][..., :2]  # end-to-end heads fill up with rows of zeros
    unit = pixel_unit(np.full((1, 2), np.median(filled) if filled.size else 0.0), head)
    visibility = np.clip(points[..., 2:], 0, 1) if size == 3 else np.ones_like(points[..., :1])
    return np.concatenate([points[..., :2] * unit, visibility], axis=2).astype(np.float32)


def rotated_boxes(centres: np.ndarray, angles: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """(n, 4, 2) corners in pixels, from x, y, w, h (n, 4) in the head's unit and angles (n,) in radians."""
    return rotated(centres * np.tile(unit, 2), angles.astype(np.float64))


def shapes_of(
    extras: Extras, values: np.ndarray, centres: np.ndarray, unit: np.ndarray, head: Head
) -> dict[str, np.ndarray]:
    """Name -> value of the optional field of `Detections`. For masks, the value is the coefficients, see `finished`.

    Args:
        values: (n, extras.columns) values of the columns.
        centres: (n, 4) x, y, w, h in the head's unit.
        unit: Pixels per unit of x and y, as `pixel_unit` returns them.
    """
    if extras.task == "pose":
        return {"keypoints": keypoints_of(values, extras.size, head)}
    if extras.task == "segment":
        return {"masks": values}
    if extras.task != "obb":
        return {}
    return {"corners": rotated_boxes(centres, values[:, 0], unit)}


def finished(result: Decoded, extras: Extras, head: Head) -> Decoded:
    """The result with masks in place of their coefficients, and with boxes in pixels of the input.

    Candidates get neither masks nor keypoints, because there are too many of them.
    """
    detections, candidates = result.detections, result.candidates
    if candidates is not None:
        candidates = replace(candidates, masks=None, keypoints=None)
    if extras.prototypes is None or detections.masks is None:
        return Decoded(detections, candidates)
    planes = head.values[extras.prototypes.index].reshape(extras.prototypes.shape[1:])
    planes = planes if extras.prototypes.shape[3] == extras.columns else planes.transpose(1, 2, 0)
    masks = np.zeros((len(detections), MASK_SIDE, MASK_SIDE // 8), np.uint8)
    for row, (box, coefficients) in enumerate(zip(detections.boxes, detections.masks, strict=True)):
        masks[row] = np.packbits(mask_in_box(planes, coefficients, box, head) > 0, axis=1)
    return Decoded(replace(detections, masks=masks), candidates)


def mask_in_box(planes: np.ndarray, coefficients: np.ndarray, box: np.ndarray, head: Head) -> np.ndarray:
    """(MASK_SIDE, MASK_SIDE) logits at the cells' centres of a box, interpolated between the prototypes' pixels.

    Args:
        planes: (h, w, m) prototypes over the whole input.
        coefficients: (m,) the object's weights of the prototypes.
        box: (4,) xyxy in pixels of the input. Cells outside of the input get -1.
    """
    height, width = planes.shape[:2]
    steps = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    x = box[0] + steps * (box[2] - box[0])
    y = box[1] + steps * (box[3] - box[1])
    left, right, share_x = _neighbours(x * width / head.width, width)
    top, bottom, share_y = _neighbours(y * height / head.height, height)
    first, rows = int(top.min()), slice(int(top.min()), int(bottom.max()) + 1)
    logits = planes[rows] @ coefficients  # [rows, w]
    upper, lower = logits[top - first], logits[bottom - first]
    between = upper + (lower - upper) * share_y[:, None]
    values = between[:, left] + (between[:, right] - between[:, left]) * share_x
    inside = ((y >= 0) & (y <= head.height))[:, None] & ((x >= 0) & (x <= head.width))
    return np.where(inside, values, -1.0)


def _neighbours(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each position in pixels (centres are at .5): (pixel before it, pixel after it, weight of the latter)."""
    at = np.clip(positions - 0.5, 0, count - 1)
    before = np.floor(at).astype(np.int64)
    return before, np.minimum(before + 1, count - 1), at - before
