"""YOLOX: no anchors, objectness times class; the decoding is mostly left to the reader.

One output [1, n, 5 + classes], a box a cell of strides 8, 16, 32: tx, ty, tw, th, objectness, a score a class (after
sigmoid, rarely before). Without the decoding inside, in pixels of the input:
    x = (tx + column) * stride    y = (ty + row) * stride    w = exp(tw) * stride    h = exp(th) * stride
Source: YOLOX/yolox/models/yolo_head.py (decode_outputs) and demo/ONNXRuntime. Exports with `--decode_in_inference`
hold x, y, w, h themselves. The values tell: tx and ty are small offsets that know nothing of their cell's place,
while centres follow it (or are larger than any offset).
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.grid import cells
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.objectness import decode_products
from qviz.decoders.rows import Rows, boxes_of, has_objectness, rows_of
from qviz.errors import ModelError
from qviz.structures import Graph, Settings
from qviz.structures.boxes import from_centres

STRIDES = (8, 16, 32)
FOLLOWS = 0.9
"""Correlation of centres with their cells' places; that of offsets is near 0."""
LARGEST_OFFSET = 32.0
"""Cells; what lies further is a place in pixels."""


class YOLOX:
    """NMS is ours."""

    expects = "[1, n, 5 + classes], a box a cell of strides 8, 16, 32, with objectness, decoded inside or not"
    defaults = Settings(
        mean=(0.0,) * 3, std=(1.0,) * 3, channels="bgr", resize="letterbox-top-left", nms_iou=0.65, max_detections=100
    )

    def matches(self, graph: Graph) -> bool:
        rows = _rows(graph)
        return rows is not None and has_objectness(graph, rows) is not False

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        rows = _rows(graph)
        return rows.columns - 5 if rows else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        rows = _rows(head.graph)
        if rows is None:
            raise ModelError("has no single output with a box a cell.")
        values, grid = rows.of(head), cells(rows.levels)
        inside = decoded_inside(values[:, :2], grid)
        boxes = boxes_of(values[:, :4], head.width, head.height) if inside else _boxes(values[:, :4], grid)
        return decode_products(boxes, values[:, 4:], limits)


def _rows(graph: Graph) -> Rows | None:
    rows = rows_of(graph, (STRIDES,))
    return rows if rows is not None and rows.columns >= 6 else None


def decoded_inside(xy: np.ndarray, grid: np.ndarray) -> bool:
    """Whether xy (n, 2) are centres, and not offsets within the cells of grid (n, 3)."""
    if float(np.abs(xy).max(initial=0)) > LARGEST_OFFSET:
        return True
    places = grid[:, :2] * grid[:, 2:]
    return min(_correlation(xy[:, axis], places[:, axis]) for axis in (0, 1)) > FOLLOWS


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's, 0 where one does not vary."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _boxes(encoded: np.ndarray, grid: np.ndarray) -> np.ndarray:
    centres = encoded[:, :2] + grid[:, :2]
    sizes = np.exp(np.minimum(encoded[:, 2:], 10))  # exp overflows on a broken head; such a box shows as a huge one
    return from_centres(np.concatenate([centres, sizes], axis=1) * grid[:, 2:])
