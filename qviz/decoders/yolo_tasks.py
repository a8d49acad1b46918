"""YOLOv8 and its successors trained for poses, masks or rotated boxes, before NMS.

The rows are those of YOLOv8, with further columns after the scores, which `qviz.decoders.extras` describes. A file
without the exporter's notes does not say what these columns are. `YOLOv8Pose` and `YOLOv8Rotated` then recognise them
by their values: keypoints follow the position of the cell that predicts them, and some angles are below 0 or above 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.decoders.extras import (
    COCO_POSE,
    NO_EXTRAS,
    Extras,
    extras_of,
    finished,
    keypoints_of,
    pixel_unit,
    shapes_of,
    split_outputs,
)
from qviz.decoders.grid import cells, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Head, Limits
from qviz.decoders.scores import decoded, probabilities, strong_rows
from qviz.decoders.yolo import (
    COCO,
    PYRAMIDS,
    Rows,
    YOLOv8,
    boxes_of,
    ends_in_angle,
    follows_cells,
    has_objectness,
    share_inside,
)
from qviz.structures import Graph
from qviz.structures.polygons import hulls


@dataclass(frozen=True, slots=True, eq=False)
class TaskRows(Rows):
    """The rows, and the columns after their scores."""

    extras: Extras


class YOLOv8Tasks(YOLOv8):
    """Decoder of models for poses, masks or rotated boxes whose file states the task or shows it in its shapes."""

    expects = "rows as yolov8 with keypoints, mask coefficients (and prototypes [1, h, w, 32]) or an angle behind them"
    defaults = UNIT_INPUT
    has_shapes = True

    def parts(self, graph: Graph) -> TaskRows | None:
        prototypes, rest = split_outputs(graph)
        if len(rest) != 1 or len(prototypes) > 1 or len(rest[0].shape) > 3:
            return None
        for strides in PYRAMIDS:
            levels = levels_of(graph, strides)
            for output in outputs_over(rest, levels):
                extras = extras_of(graph, output.columns - 4, prototypes)
                if extras is not None and output.columns > 4 + extras.columns:
                    return TaskRows(output.tensor, output.columns, output.first, 1, levels, extras)
        return None

    def classes(self, parts: Rows) -> int:
        assert isinstance(parts, TaskRows), "as `parts` returns them"
        return parts.columns - self.others - parts.extras.columns

    def fit(self, head: Head) -> float | None:
        """The share of cells inside their own box times, for poses, the share of keypoints inside their box."""
        rows = self.parts(head.graph)
        if rows is None:
            return None
        values = rows.of(head)
        return share_inside(boxes_of(values[:, :4], head), rows.levels) * _keypoints_inside(values, rows.extras, head)

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        assert isinstance(parts, TaskRows), "as `parts` returns them"
        return decode_tasks(parts.of(head), parts.extras, head, limits)


def decode_tasks(values: np.ndarray, extras: Extras, head: Head, limits: Limits) -> Decoded:
    """Detections from rows (n, 4 + classes + extras) of x, y, w, h, scores and extras."""
    classes = values.shape[1] - 4 - extras.columns
    scores = probabilities(values[:, 4 : 4 + classes])
    strong = strong_rows(scores, limits)
    unit, behind = pixel_unit(values[:, :2], head), values[strong, 4 + classes :]
    shapes = shapes_of(extras, behind, values[strong, :4], unit, head)
    boxes = hulls(shapes["corners"]) if "corners" in shapes else boxes_of(values[:, :4], head)[strong]
    return finished(decoded(boxes, scores[strong], limits, **shapes), extras, head)


class YOLOv8Pose(YOLOv8):
    """Decoder of poses whose file does not state the task: the columns that follow the cells are the keypoints."""

    expects = "rows as yolov8 with keypoints behind the scores, which the values show"
    has_shapes = True

    def fits(self, graph: Graph, rows: Rows) -> bool:
        return _may_have_extras(graph, rows) and rows.columns >= self.others + 3

    def classes(self, parts: Rows) -> int | None:  # type: ignore[override]
        return None

    def fit(self, head: Head) -> float | None:
        rows = self.parts(head.graph)
        if rows is None:
            return None
        values = rows.of(head)
        return share_inside(boxes_of(values[:, :4], head), rows.levels) * (self.extras(values, rows) is not None)

    def extras(self, values: np.ndarray, rows: Rows) -> Extras | None:
        """The keypoints that the values show: pairs x, y, each perhaps with a visibility; None if they show none."""
        follows = follows_cells(values[:, self.others :], cells(rows.levels))
        if not follows.any():
            return None
        first = int(np.argmax(follows))
        behind = follows[first:]
        for size in (3, 2):
            pattern = np.tile([True, True, False][:size], len(behind) // size)
            if first > 0 and len(behind) % size == 0 and np.array_equal(behind, pattern):
                return Extras("pose", len(behind), size)
        return None

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        return decode_tasks(values, self.extras(values, parts) or NO_EXTRAS, head, limits)


class YOLOv8Rotated(YOLOv8Pose):
    """Decoder of rotated boxes of a file that does not state the task: the last column exceeds [0, 1], as angles do."""

    expects = "rows as yolov8 with an angle behind the scores, which the values show"

    def fits(self, graph: Graph, rows: Rows) -> bool:
        return _may_have_extras(graph, rows) and rows.columns >= self.others + 2

    def extras(self, values: np.ndarray, rows: Rows) -> Extras | None:
        return Extras("obb", 1) if ends_in_angle(values[:, self.others :]) else None


def _may_have_extras(graph: Graph, rows: Rows) -> bool:
    """Whether the file leaves open how many of the columns are scores: it states neither the task nor the classes."""
    is_coco = rows.columns in (4 + COCO, 4 + 1 + COCO_POSE)
    return not graph.notes.task and not graph.notes.classes and not is_coco and not has_objectness(graph, rows)


def _keypoints_inside(values: np.ndarray, extras: Extras, head: Head) -> float:
    """For poses, the share of the ten strongest rows whose keypoints all lie in or near their box; else 1."""
    if extras.task != "pose":
        return 1.0
    best = np.argsort(-values[:, 4], kind="stable")[:10]
    boxes = values[best, :4] * np.tile(pixel_unit(values[:, :2], head), 2)
    points = keypoints_of(values[best, -extras.columns :], extras.size, head)[..., :2]
    inside = np.abs(points - boxes[:, None, :2]) <= 0.6 * boxes[:, None, 2:]
    return float(inside.all(axis=2).mean())
