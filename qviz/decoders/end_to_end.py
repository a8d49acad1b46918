"""Boxes, scores and classes in one output that needs no further NMS: YOLOv8/11 with `nms=True`, YOLOv10, YOLO26.

The output is [1, n, 6] or [n, 6]. Its rows are x1, y1, x2, y2, score, class (ultralytics) or class, score, x1, y1, x2,
y2 (PaddleDetection), in pixels of the input or normalised to [0, 1]; unused rows have score 0. Values show the order:
classes are whole numbers, scores are in [0, 1]. n is the exporter's maximum number of detections; an output with one
row per cell belongs to another head. Models for poses, masks and rotated boxes have further columns after these
(`qviz.decoders.extras`); rotated boxes begin with x, y, w, h. Source: ultralytics/engine/exporter.py (NMSModel) and
nn/modules/head.py (postprocess); PaddleDetection ppdet/modeling/post_process.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.decoders.extras import Extras, extras_of, finished, pixel_unit, shapes_of, split_outputs
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.yolo import PYRAMIDS, in_pixels, rows_of
from qviz.structures import Detections, Graph, Tensor
from qviz.structures.detections import class_ids_of
from qviz.structures.polygons import hulls

COLUMNS = 6
MAX_ROWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class FinishedRows:
    """The output with the rows, and the columns that follow the class in each row (None for plain boxes)."""

    tensor: Tensor
    extras: Extras | None


class EndToEnd(Decoder[FinishedRows]):
    """Decoder of finished detections. Any NMS is done in the file, so there are no candidates."""

    expects = "[1, n, 6] with up to 1000 rows x1, y1, x2, y2, score, class, perhaps with keypoints, masks or an angle"
    defaults = UNIT_INPUT
    has_shapes = True

    def parts(self, graph: Graph) -> FinishedRows | None:
        prototypes, rest = split_outputs(graph)
        if len(rest) != 1 or any(rows_of(graph, PYRAMIDS, per_cell) is not None for per_cell in (1, 3)):
            return None
        tensor = rest[0]
        leading = tensor.shape[:-2]
        if len(tensor.shape) not in (2, 3) or any(size not in (1, -1) for size in leading):
            return None
        if not 0 < tensor.shape[-2] <= MAX_ROWS:
            return None
        if tensor.shape[-1] == COLUMNS:
            return FinishedRows(tensor, None) if not prototypes and graph.notes.task in ("", "detect") else None
        extras = extras_of(graph, tensor.shape[-1] - 4, prototypes, labelled=False)
        fits = extras is not None and tensor.shape[-1] == COLUMNS + extras.columns
        return FinishedRows(tensor, extras) if fits else None

    def decode_parts(self, parts: FinishedRows, head: Head, limits: Limits) -> Decoded:
        values = head.values[parts.tensor.index]
        rows = values.reshape(-1, values.shape[-1])
        if parts.extras is None:
            rows = _score_then_class(rows)
        rows = rows[rows[:, 4] >= max(limits.score, 1e-9)]
        classes = class_ids_of(rows[:, 5], limits.class_offset)
        boxes, shapes = _shapes(rows, parts.extras, head)
        detections = Detections.of(boxes, np.clip(rows[:, 4], 0, 1), classes, **shapes)
        best = detections[detections.class_ids >= 0].by_score()[: limits.max_detections]
        plain = Decoded(best, None)
        return plain if parts.extras is None else finished(plain, parts.extras, head)


def _shapes(rows: np.ndarray, extras: Extras | None, head: Head) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(boxes (n, 4) xyxy in pixels, optional fields of the detections) of rows (n, 6 + extras)."""
    boxes = in_pixels(rows[:, :4], head, float(rows[:, :4].max(initial=0)))
    if extras is None:
        return boxes, {}
    unit = pixel_unit(rows[:, : 2 if extras.task == "obb" else 4], head)
    shapes = shapes_of(extras, rows[:, COLUMNS:], rows[:, :4], unit, head)
    return (hulls(shapes["corners"]) if "corners" in shapes else boxes), shapes


def _score_then_class(rows: np.ndarray) -> np.ndarray:
    """The rows (n, 6), reordered to x1, y1, x2, y2, score, class where they are in PaddleDetection's order."""
    return rows[:, [2, 3, 4, 5, 1, 0]] if not _are_scores(rows[:, 4]) and _are_scores(rows[:, 1]) else rows


def _are_scores(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= 0 and values.max(initial=0) <= 1)
