"""YOLOv8, YOLO11 and their successors as exported: decoded boxes, without objectness.

One output [1, 4 + classes, n] or [1, n, 4 + classes]: x, y, w, h of the box (centre and size), in pixels of the input
or normalised to [0, 1] (TensorFlow Lite exports), then one score per class (after sigmoid). n: one box per cell.
Source: ultralytics/nn/modules/head.py, Detect._inference, and ultralytics/engine/exporter.py.
"""

from __future__ import annotations

from qviz.decoders.head import Decoded, Head, Limits, OutputDecoder
from qviz.decoders.rows import Rows, boxes_of, has_objectness, rows_of
from qviz.decoders.scores import decoded, probabilities, strong_rows
from qviz.structures import Graph, Settings

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the usual models, of P6 and of P2 ones."""


class YOLOv8(OutputDecoder[Rows]):
    """One row or column per box, one box per cell."""

    expects = "[1, 4 + classes, n] or [1, n, 4 + classes], one box per cell of strides 8, 16, 32, without objectness"
    defaults = Settings(
        mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.7, max_detections=100
    )

    def parts(self, graph: Graph) -> Rows | None:
        rows = rows_of(graph, PYRAMIDS)
        return rows if rows is not None and rows.columns >= 5 and not has_objectness(graph, rows) else None

    def classes(self, parts: Rows) -> int:
        return parts.columns - 4

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        boxes = boxes_of(values[:, :4], head.width, head.height)
        scores = probabilities(values[:, 4:])
        strong = strong_rows(scores, limits)
        return decoded(boxes[strong], scores[strong], limits)
