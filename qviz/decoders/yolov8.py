"""YOLOv8, YOLO11 and their heirs as exported: boxes decoded inside, no objectness.

One output [1, 4 + classes, n] or [1, n, 4 + classes]: x, y, w, h of the box (centre and size), in pixels of the input
or normalised to [0, 1] (TensorFlow Lite exports), then a score a class (after sigmoid). n: one box a cell.
Source: ultralytics/nn/modules/head.py, Detect._inference, and ultralytics/engine/exporter.py.
"""

from __future__ import annotations

from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.rows import Rows, boxes_of, has_objectness, rows_of
from qviz.decoders.scores import decoded, probabilities, strong_rows
from qviz.errors import ModelError
from qviz.structures import Graph, Settings

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the usual models, of P6 and of P2 ones."""


class YOLOv8:
    """NMS is ours."""

    expects = "[1, 4 + classes, n] or [1, n, 4 + classes], a box a cell of strides 8, 16, 32, without objectness"
    defaults = Settings(
        mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.7, max_detections=100
    )

    def matches(self, graph: Graph) -> bool:
        rows = _rows(graph)
        return rows is not None and not has_objectness(graph, rows)

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        rows = _rows(graph)
        return rows.columns - 4 if rows else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        rows = _rows(head.graph)
        if rows is None:
            raise ModelError("has no single output with a box a cell.")
        values = rows.of(head)
        boxes = boxes_of(values[:, :4], head.width, head.height)
        scores = probabilities(values[:, 4:])
        strong = strong_rows(scores, limits)
        return decoded(boxes[strong], scores[strong], limits)


def _rows(graph: Graph) -> Rows | None:
    rows = rows_of(graph, PYRAMIDS)
    return rows if rows is not None and rows.columns >= 5 else None
