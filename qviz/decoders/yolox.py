"""YOLOX: no anchors, with objectness; boxes are mostly not decoded in the file.

One output [1, n, 5 + classes], one box per cell of strides 8, 16, 32: tx, ty, tw, th, objectness, one score per
class (after sigmoid, rarely before). Not decoded, in pixels of the input:
    x = (tx + column) * stride    y = (ty + row) * stride    w = exp(tw) * stride    h = exp(th) * stride
Source: YOLOX/yolox/models/yolo_head.py (decode_outputs) and demo/ONNXRuntime. Exports with `--decode_in_inference`
give x, y, w, h. The values tell: tx and ty are small offsets, uncorrelated with the position of their cell, while
centres are correlated with it (or larger than any offset).
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.grid import cells
from qviz.decoders.head import Decoded, Head, Limits, OutputDecoder
from qviz.decoders.rows import Rows, boxes_of, decode_products, has_objectness, rows_of
from qviz.structures import Graph, Settings
from qviz.structures.boxes import from_centres

STRIDES = (8, 16, 32)
MIN_CORRELATION = 0.9
"""Of centres with the positions of their cells; that of offsets is near 0."""
MAX_OFFSET = 32.0
"""In cells; larger values are centres in pixels."""


class YOLOX(OutputDecoder[Rows]):
    """One row per box, one box per cell."""

    expects = "[1, n, 5 + classes], one box per cell of strides 8, 16, 32, decoded or not, with objectness"
    defaults = Settings(
        mean=(0.0,) * 3, std=(1.0,) * 3, channels="bgr", resize="letterbox-top-left", nms_iou=0.65, max_detections=100
    )

    def parts(self, graph: Graph) -> Rows | None:
        rows = rows_of(graph, (STRIDES,))
        return rows if rows is not None and rows.columns >= 6 and has_objectness(graph, rows) is not False else None

    def classes(self, parts: Rows) -> int:
        return parts.columns - 5

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values, grid = parts.of(head), cells(parts.levels)
        inside = decoded_inside(values[:, :2], grid)
        boxes = boxes_of(values[:, :4], head.width, head.height) if inside else _boxes(values[:, :4], grid)
        return decode_products(boxes, values[:, 4:], limits)


def decoded_inside(xy: np.ndarray, grid: np.ndarray) -> bool:
    """Whether xy (n, 2) are centres rather than offsets within the cells of grid (n, 3)."""
    if float(np.abs(xy).max(initial=0)) > MAX_OFFSET:
        return True
    positions = grid[:, :2] * grid[:, 2:]
    return min(_correlation(xy[:, axis], positions[:, axis]) for axis in (0, 1)) > MIN_CORRELATION


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; 0 if one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _boxes(encoded: np.ndarray, grid: np.ndarray) -> np.ndarray:
    centres = encoded[:, :2] + grid[:, :2]
    sizes = np.exp(np.minimum(encoded[:, 2:], 10))  # exp would overflow for a broken head; its boxes are huge
    return from_centres(np.concatenate([centres, sizes], axis=1) * grid[:, 2:])
