"""One output with a row a box, as the YOLO family has it: what YOLOv5, YOLOX and YOLOv8 share.

A row is x, y, w, h, perhaps the objectness, and a score a class; rows come first or last, (1, n, c) or (1, c, n).
The number of boxes tells the family: one a cell (anchor-free) or three (anchors). What tells a column of objectness:
85 columns are objectness and COCO's 80 classes, 84 the classes alone; a file that computes a SOFTMAX integrates binned
distances (YOLOv8 and its heirs, which have no objectness), and so does, as exported, one with the columns first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.decoders.grid import Layout, Levels, layout, levels_of
from qviz.decoders.head import Head
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

COCO = 80
NORMALISED_UP_TO = 2.0
"""Centres beyond this are pixels; normalised ones lie in [0, 1], a little outside at the border."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The output, the levels that it lies over and how."""

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
    """The single output as rows over the first pyramid of strides whose cells it has, or None."""
    if len(graph.outputs) != 1:
        return None
    tensor = graph.output_tensors()[0]
    for strides in pyramids:
        levels = levels_of(graph, strides)
        lies = layout(tensor.shape, levels, per_cell) if len(tensor.shape) <= 3 else None
        if lies is not None:
            return Rows(tensor, levels, lies)
    return None


def has_objectness(graph: Graph, rows: Rows) -> bool | None:
    """True, False, or None where the file does not tell."""
    if rows.columns in (COCO + 4, COCO + 5):
        return rows.columns == COCO + 5
    if rows.layout.first or any(op.kind == "SOFTMAX" for op in graph.ops):
        return False
    return None


def boxes_of(centres: np.ndarray, width: int, height: int) -> np.ndarray:
    """(n, 4) x, y, w, h in pixels, or normalised to [0, 1] where no centre lies beyond 2, to xyxy pixels."""
    if float(centres[:, :2].max(initial=0)) <= NORMALISED_UP_TO:
        centres = centres * np.array([width, height] * 2, np.float32)
    return from_centres(centres)
