"""NanoDet-Plus: one output over strides 8, 16, 32, 64.

[1, n, classes + 4 * 8], one row per cell: class scores (after sigmoid), then the logits of 8 bins per side. Cells
predict from their corner, not from their centre. Formula and sources: `distance_heads`.
"""

from __future__ import annotations

from qviz.decoders.distance_heads import NANODET_INPUT, decode_distances
from qviz.decoders.grid import cells
from qviz.decoders.head import Decoded, Head, Limits, OutputDecoder
from qviz.decoders.rows import COCO, Rows, rows_of
from qviz.decoders.scores import probabilities
from qviz.structures import Graph

STRIDES = (8, 16, 32, 64)
DISTANCES = 4 * 8


class NanoDetPlus(OutputDecoder[Rows]):
    """Scores and binned distances in one row per cell."""

    expects = "[1, n, classes + 32], one box per cell of strides 8, 16, 32, 64: scores, then binned distances"
    defaults = NANODET_INPUT

    def parts(self, graph: Graph) -> Rows | None:
        """Not a file with a SOFTMAX, which integrates its distances itself, nor 84 columns: YOLOv8 of four levels."""
        rows = rows_of(graph, (STRIDES,))
        if rows is None or rows.layout.first or rows.columns <= DISTANCES or rows.columns == COCO + 4:
            return None
        return None if any(op.kind == "SOFTMAX" for op in graph.ops) else rows

    def classes(self, parts: Rows) -> int:
        return parts.columns - DISTANCES

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        scores, distances = probabilities(values[:, :-DISTANCES]), values[:, -DISTANCES:]
        return decode_distances(scores, distances, cells(parts.levels), 0.0, limits)
