"""Boxes, classes and scores of YOLOv8 and its successors trained for poses, masks or turned boxes.

The rows are those of YOLOv8, with further columns after the scores:
    pose      the keypoints, x, y and perhaps a visibility each. Their number is in the exporter's notes; without notes,
              56 columns are taken as COCO's 17 x 3 of one class
    segment   the coefficients of the masks, one for each prototype in the second output, [1, h, w, m] or [1, m, h, w]
    obb       the angle in radians; the upright box around the turned one is returned
Keypoints and masks are not read. Source: ultralytics/nn/modules/head.py (Pose, Segment, OBB).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.decoders.grid import levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Head, Limits
from qviz.decoders.scores import decoded, probabilities, strong_rows
from qviz.decoders.yolo import PYRAMIDS, Rows, YOLOv8, boxes_of, share_inside
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

COCO_POSE = 4 + 1 + 17 * 3
PROTOTYPES = (16, 32, 64)


@dataclass(frozen=True, slots=True, eq=False)
class TaskRows(Rows):
    """The rows. extras: number of columns after the scores; turned: whether the last column is an angle."""

    extras: int
    turned: bool


class YOLOv8Tasks(YOLOv8):
    """Decoder of boxes, classes and scores of models for poses, masks or turned boxes."""

    expects = "rows as yolov8 with keypoints, mask coefficients (and prototypes [1, h, w, 32]) or an angle behind them"
    defaults = UNIT_INPUT

    def parts(self, graph: Graph) -> TaskRows | None:
        tensors = graph.output_tensors()
        prototypes = [tensor for tensor in tensors if _prototypes(tensor)]
        rest = [tensor for tensor in tensors if tensor not in prototypes]
        if len(rest) != 1 or len(tensors) > 2 or len(rest[0].shape) > 3:
            return None
        for strides in PYRAMIDS:
            levels = levels_of(graph, strides)
            for output in outputs_over(rest, levels):
                extras = _extras(graph, output.columns, prototypes)
                if extras and output.columns > 4 + extras:
                    turned = graph.notes.task == "obb"
                    return TaskRows(output.tensor, output.columns, output.first, 1, levels, extras, turned)
        return None

    def classes(self, parts: Rows) -> int:
        assert isinstance(parts, TaskRows), "as `parts` returns them"
        return parts.columns - self.others - parts.extras

    def fit(self, head: Head) -> float | None:
        """The share of cells inside their own box times, for poses, the share of keypoints inside their box."""
        rows = self.parts(head.graph)
        if rows is None:
            return None
        values = rows.of(head)
        return share_inside(boxes_of(values[:, :4], head), rows.levels) * _keypoints_inside(values, rows, head)

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        assert isinstance(parts, TaskRows), "as `parts` returns them"
        values = parts.of(head)
        scores = probabilities(values[:, 4 : 4 + self.classes(parts)])
        strong = strong_rows(scores, limits)
        boxes = boxes_of(values[:, :4], head)
        if parts.turned:
            boxes = upright(boxes, values[:, -1])
        return decoded(boxes[strong], scores[strong], limits)


def upright(boxes: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Upright boxes (n, 4) around boxes that are turned around their centres by `angles` (n,) in radians."""
    sizes = boxes[:, 2:] - boxes[:, :2]
    cos, sin = np.abs(np.cos(angles)), np.abs(np.sin(angles))
    width = sizes[:, 0] * cos + sizes[:, 1] * sin
    height = sizes[:, 0] * sin + sizes[:, 1] * cos
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return from_centres(np.concatenate([centres, np.stack([width, height], axis=1)], axis=1)).astype(np.float32)


def _prototypes(tensor: Tensor) -> int:
    """The number of mask prototypes in a tensor; 0 if it is another output."""
    shape = tensor.shape
    if len(shape) != 4 or shape[0] not in (1, -1):
        return 0
    return next((side for side in (shape[3], shape[1]) if side in PROTOTYPES), 0)


def _extras(graph: Graph, columns: int, prototypes: list[Tensor]) -> int:
    """Number of columns after the scores; 0 if the head is none of these."""
    if prototypes:
        return _prototypes(prototypes[0])
    if graph.notes.task == "obb":
        return 1
    if graph.notes.task == "pose":
        return graph.notes.keypoints or (columns - 4 - graph.notes.classes if graph.notes.classes else 51)
    return 51 if not graph.notes.task and columns == COCO_POSE and graph.notes.classes in (0, 1) else 0


def _keypoints_inside(values: np.ndarray, rows: TaskRows, head: Head) -> float:
    """For poses, the share of keypoints of the ten strongest rows that lie in their box; else 1."""
    if rows.turned or rows.extras % 3 or rows.extras < 6:
        return 1.0
    best = np.argsort(-values[:, 4], kind="stable")[:10]
    boxes = values[best, :4]
    points = values[best, -rows.extras :].reshape(len(best), -1, 3)[:, :, :2]
    inside = np.abs(points - boxes[:, None, :2]) <= 0.6 * boxes[:, None, 2:]
    return float(inside.all(axis=2).mean())
