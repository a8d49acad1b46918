"""NanoDet (scores and distances apart, strides 8, 16, 32) and NanoDet-Plus (one output, strides 8, 16, 32, 64).

NanoDet-Plus: [1, n, classes + 4 * 8] a row a cell: class scores (after sigmoid), then the logits of 8 bins a side; its
cells predict from their corner, not from their centre. Formula and sources: `distances`.
"""

from __future__ import annotations

from qviz.decoders.distance_levels import distance_head
from qviz.decoders.distances import decode_distances
from qviz.decoders.grid import cells
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.rows import COCO, Rows, rows_of
from qviz.decoders.scores import probabilities
from qviz.errors import ModelError
from qviz.structures import Graph, Settings

INPUT = Settings(
    mean=(103.53, 116.28, 123.675),
    std=(57.375, 57.12, 58.395),
    channels="bgr",
    resize="stretch",
    nms_iou=0.6,
    max_detections=100,
)

NANODET = distance_head(INPUT, (8, 16, 32), (8, 11))

STRIDES = (8, 16, 32, 64)
DISTANCES = 4 * 8


class NanoDetPlus:
    """NMS is ours."""

    expects = "[1, n, classes + 32], a box a cell of strides 8, 16, 32, 64: scores, then binned distances"
    defaults = INPUT

    def matches(self, graph: Graph) -> bool:
        return _rows(graph) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        rows = _rows(graph)
        return rows.columns - DISTANCES if rows else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        rows = _rows(head.graph)
        if rows is None:
            raise ModelError("has no single output with scores and distances of four levels.")
        values = rows.of(head)
        scores, distances = probabilities(values[:, :-DISTANCES]), values[:, -DISTANCES:]
        return decode_distances(scores, distances, cells(rows.levels), 0.0, limits)


def _rows(graph: Graph) -> Rows | None:
    """A file that computes a SOFTMAX integrates its distances itself, and 84 columns are a YOLOv8 of four levels."""
    rows = rows_of(graph, (STRIDES,))
    if rows is None or rows.layout.first or rows.columns <= DISTANCES or rows.columns == COCO + 4:
        return None
    return None if any(op.kind == "SOFTMAX" for op in graph.ops) else rows
