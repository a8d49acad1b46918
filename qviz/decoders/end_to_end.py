"""Boxes, scores and classes in one output, NMS inside or not needed: YOLOv8/11 with `nms=True`, YOLOv10, YOLO26.

[1, n, 6] or [n, 6], rows x1, y1, x2, y2, score, class (ultralytics) or class, score, x1, y1, x2, y2 (PaddleDetection);
pixels of the input, or normalised to [0, 1]; unused rows score 0. Classes are whole numbers and scores lie in [0, 1]:
by that the two orders are told apart. n is a chosen maximum, so a row for every cell is another head.
Source: ultralytics/engine/exporter.py (NMSModel); PaddleDetection ppdet/modeling/post_process.py.
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.rows import NORMALISED_UP_TO, rows_of
from qviz.decoders.yolov8 import PYRAMIDS
from qviz.errors import ModelError
from qviz.structures import Detections, Graph, Settings, Tensor

COLUMNS = 6
MOST_ROWS = 1000


class EndToEnd:
    """NMS, if there is any, is inside the file; candidates are hidden."""

    expects = "[1, n, 6] with up to 1000 rows x1, y1, x2, y2, score, class"
    defaults = Settings(
        mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox", nms_iou=0.7, max_detections=100
    )

    def matches(self, graph: Graph) -> bool:
        return _output(graph) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        return None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        output = _output(head.graph)
        if output is None:
            raise ModelError("has no single output with rows of six columns.")
        rows = _score_then_class(head.values[output.index].reshape(-1, COLUMNS))
        rows = rows[rows[:, 4] >= max(limits.score, 1e-9)]
        boxes = rows[:, :4]
        if float(boxes.max(initial=0)) <= NORMALISED_UP_TO:
            boxes = boxes * np.array([head.width, head.height] * 2, np.float32)
        classes = np.rint(rows[:, 5]) - limits.class_offset
        found = Detections.of(boxes, np.clip(rows[:, 4], 0, 1), classes)
        return Decoded(found[found.class_ids >= 0].by_score()[: limits.max_detections], None)


def _output(graph: Graph) -> Tensor | None:
    if len(graph.outputs) != 1 or rows_of(graph, PYRAMIDS) is not None or rows_of(graph, PYRAMIDS, 3) is not None:
        return None
    tensor = graph.output_tensors()[0]
    leading = tensor.shape[:-2]
    fits = len(tensor.shape) in (2, 3) and tensor.shape[-1] == COLUMNS and 0 < tensor.shape[-2] <= MOST_ROWS
    return tensor if fits and all(size in (1, -1) for size in leading) else None


def _score_then_class(rows: np.ndarray) -> np.ndarray:
    """Rows as x1, y1, x2, y2, score, class."""
    return rows[:, [2, 3, 4, 5, 1, 0]] if not _scores(rows[:, 4]) and _scores(rows[:, 1]) else rows


def _scores(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= 0 and values.max(initial=0) <= 1)
