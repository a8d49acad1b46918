"""YOLOv5 and YOLOv7 (and YOLOv3 as ultralytics exports it): anchors and decoding inside, objectness times class.

One output [1, n, 5 + classes]: x, y, w, h of the box (centre and size), normalised to [0, 1] (TensorFlow Lite
exports) or in pixels of the input; objectness; a score a class (both after sigmoid). n: three boxes a cell.
Source: yolov5/models/tf.py, TFDetect.call and TFModel.predict. Heads without the decoding ([1, 3, h, w, 85] a level)
need the anchors that the model was trained with, which the file does not hold: they are not read.
"""

from __future__ import annotations

from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.objectness import decode_products
from qviz.decoders.rows import Rows, boxes_of, rows_of
from qviz.errors import ModelError
from qviz.structures import Graph, Settings

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
"""Strides of the usual models, of P6 and of the tiny ones."""
ANCHORS = 3


class YOLOv5:
    """NMS is ours."""

    expects = "[1, n, 5 + classes], three boxes a cell of strides 8, 16, 32, with objectness, decoded inside"
    defaults = Settings(
        mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.6, max_detections=100
    )

    def matches(self, graph: Graph) -> bool:
        return _rows(graph) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        rows = _rows(graph)
        return rows.columns - 5 if rows else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        rows = _rows(head.graph)
        if rows is None:
            raise ModelError("has no single output with three boxes a cell.")
        values = rows.of(head)
        return decode_products(boxes_of(values[:, :4], head.width, head.height), values[:, 4:], limits)


def _rows(graph: Graph) -> Rows | None:
    rows = rows_of(graph, PYRAMIDS, ANCHORS)
    return rows if rows is not None and rows.columns >= 6 else None
