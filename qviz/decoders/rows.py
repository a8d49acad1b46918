"""A single output with one row per box: what YOLOv5, YOLOX and YOLOv8 share.

A row is x, y, w, h, perhaps the objectness, and one score per class; the shape is (1, n, c) or (1, c, n). The number
of boxes tells the family: one per cell (anchor-free) or three (anchors). Whether there is an objectness column: 85
columns are objectness and COCO's 80 classes, 84 the classes alone; a file that computes a SOFTMAX integrates binned
distances (YOLOv8 and its successors, which have no objectness), and so does, as exported, one of shape (1, c, n).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.decoders.grid import Layout, Levels, layout, levels_of
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.scores import decoded, floor_of, probabilities
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

COCO = 80
NORMALISED_UP_TO = 2.0
"""Larger centres are in pixels; normalised ones are in [0, 1], or slightly outside at the border."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The output, its levels and its layout over them."""

    tensor: Tensor
    levels: Levels
    layout: Layout

    @property
    def columns(self) -> int:
        return self.layout.columns

    def of(self, head: Head) -> np.ndarray:
        """(n, columns)."""
        return self.layout.rows(head.values[self.tensor.index])


def rows_of(graph: Graph, pyramids: Iterable[Sequence[int]], per_cell: int = 1) -> Rows | None:
    """The single output as rows over the first pyramid of strides with as many cells, or None."""
    if len(graph.outputs) != 1:
        return None
    tensor = graph.output_tensors()[0]
    for strides in pyramids:
        levels = levels_of(graph, strides)
        rows_layout = layout(tensor.shape, levels, per_cell) if len(tensor.shape) <= 3 else None
        if rows_layout is not None:
            return Rows(tensor, levels, rows_layout)
    return None


def has_objectness(graph: Graph, rows: Rows) -> bool | None:
    """Whether there is an objectness column; None if the file does not tell."""
    if rows.columns in (COCO + 4, COCO + 5):
        return rows.columns == COCO + 5
    if rows.layout.first or any(op.kind == "SOFTMAX" for op in graph.ops):
        return False
    return None


def boxes_of(centres: np.ndarray, width: int, height: int) -> np.ndarray:
    """(n, 4) xyxy pixels from x, y, w, h in pixels, or normalised to [0, 1] if no centre is above 2."""
    if float(centres[:, :2].max(initial=0)) <= NORMALISED_UP_TO:
        centres = centres * np.array([width, height] * 2, np.float32)
    return from_centres(centres)


def decode_products(boxes: np.ndarray, values: np.ndarray, limits: Limits) -> Decoded:
    """Detections of heads with objectness: the score of a class is objectness times class score.

    boxes: (n, 4) xyxy pixels; values: (n, 1 + classes) objectness and class scores, logits or probabilities.
    """
    objectness = probabilities(values[:, 0])
    classes = probabilities(values[:, 1:])
    strong = np.flatnonzero(objectness >= floor_of(limits))  # a product is never above its factors
    return decoded(boxes[strong], objectness[strong, None] * classes[strong], limits)
