"""YOLOv5 and YOLOv7 (and YOLOv3 as ultralytics exports it): decoded boxes of anchors, with objectness.

One output [1, n, 5 + classes]: x, y, w, h of the box (centre and size), normalised to [0, 1] (TensorFlow Lite
exports) or in pixels of the input; objectness; one score per class (both after sigmoid). n: three boxes per cell.
Source: yolov5/models/tf.py, TFDetect.call and TFModel.predict. Heads without the decoding ([1, 3, h, w, 85]
per level) need the anchors of the training, which the file does not have: they are not read.
"""

from __future__ import annotations

from qviz.decoders.head import Decoded, Head, Limits, OutputDecoder
from qviz.decoders.rows import Rows, boxes_of, decode_products, rows_of
from qviz.structures import Graph, Settings

PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (16, 32))
"""Strides of the usual models, of P6 and of the tiny ones."""
ANCHORS = 3


class YOLOv5(OutputDecoder[Rows]):
    """One row per box, three boxes per cell."""

    expects = "[1, n, 5 + classes], three boxes per cell of strides 8, 16, 32, decoded, with objectness"
    defaults = Settings(
        mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.6, max_detections=100
    )

    def parts(self, graph: Graph) -> Rows | None:
        rows = rows_of(graph, PYRAMIDS, ANCHORS)
        return rows if rows is not None and rows.columns >= 6 else None

    def classes(self, parts: Rows) -> int:
        return parts.columns - 5

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        return decode_products(boxes_of(values[:, :4], head.width, head.height), values[:, 4:], limits)
