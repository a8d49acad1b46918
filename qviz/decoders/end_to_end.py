"""Boxes, scores and classes in one output that needs no further NMS: YOLOv8/11 with `nms=True`, YOLOv10, YOLO26.

The output is [1, n, 6] or [n, 6]. Its rows are x1, y1, x2, y2, score, class (ultralytics) or class, score, x1, y1, x2,
y2 (PaddleDetection), in pixels of the input or normalised to [0, 1]; unused rows have score 0. Values tell the orders:
classes are whole numbers, scores are in [0, 1]. n is the exporter's maximum number of detections; an output with one
row per cell belongs to another head. Source: ultralytics/engine/exporter.py (NMSModel); PaddleDetection
ppdet/modeling/post_process.py.
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.yolo import PYRAMIDS, in_pixels, rows_of
from qviz.structures import Detections, Graph, Tensor

COLUMNS = 6
MAX_ROWS = 1000


class EndToEnd(Decoder[Tensor]):
    """Decoder of finished detections. Any NMS is done in the file, so there are no candidates."""

    expects = "[1, n, 6] with up to 1000 rows x1, y1, x2, y2, score, class"
    defaults = UNIT_INPUT

    def parts(self, graph: Graph) -> Tensor | None:
        if len(graph.outputs) != 1 or any(rows_of(graph, PYRAMIDS, per_cell) is not None for per_cell in (1, 3)):
            return None
        tensor = graph.output_tensors()[0]
        leading = tensor.shape[:-2]
        fits = len(tensor.shape) in (2, 3) and tensor.shape[-1] == COLUMNS and 0 < tensor.shape[-2] <= MAX_ROWS
        return tensor if fits and all(size in (1, -1) for size in leading) else None

    def decode_parts(self, parts: Tensor, head: Head, limits: Limits) -> Decoded:
        rows = _score_then_class(head.values[parts.index].reshape(-1, COLUMNS))
        rows = rows[rows[:, 4] >= max(limits.score, 1e-9)]
        boxes = in_pixels(rows[:, :4], head, float(rows[:, :4].max(initial=0)))
        classes = np.rint(rows[:, 5]) - limits.class_offset
        detections = Detections.of(boxes, np.clip(rows[:, 4], 0, 1), classes)
        return Decoded(detections[detections.class_ids >= 0].by_score()[: limits.max_detections], None)


def _score_then_class(rows: np.ndarray) -> np.ndarray:
    """The rows (n, 6), reordered to x1, y1, x2, y2, score, class where they are in PaddleDetection's order."""
    return rows[:, [2, 3, 4, 5, 1, 0]] if not _are_scores(rows[:, 4]) and _are_scores(rows[:, 1]) else rows


def _are_scores(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= 0 and values.max(initial=0) <= 1)
