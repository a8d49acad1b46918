"""YOLOv5, YOLOX, YOLOv8 and YOLOv10: a single output with one row per box.

A row is x, y, w, h, perhaps an objectness, and one score per class; the shape is (1, n, c) or (1, c, n). The number of
boxes identifies the family: one per cell (anchor-free) or three (anchors). The number of columns shows whether there is
an objectness: 85 columns are an objectness and COCO's 80 classes, 84 columns are the classes alone. YOLOv8 and its
successors have no objectness. A file is one of them if it computes a SOFTMAX (to integrate binned distances) or has the
shape (1, c, n).

x, y (the centre), w and h are decoded: normalised to [0, 1] (TensorFlow Lite exports) or in pixels of the input.
Scores are after sigmoid, in YOLOX rarely before. Only files of YOLOX may have boxes that are not decoded:
    x = (tx + column) * stride    y = (ty + row) * stride    w = exp(tw) * stride    h = exp(th) * stride
The values show whether boxes are decoded. tx and ty are small offsets, uncorrelated with the position of their cell.
Decoded centres (exports with `--decode_in_inference`) are correlated with it, or larger than any offset. YOLOv5 heads
without the decoding ([1, 3, h, w, 85] per level) are not read, because the file does not contain the anchors.

Sources: yolov5/models/tf.py (TFDetect.call, TFModel.predict), also of YOLOv7, and YOLOv3 as ultralytics exports it;
ultralytics/nn/modules/head.py (Detect._inference) and engine/exporter.py; YOLOX/yolox/models/yolo_head.py
(decode_outputs) and demo/ONNXRuntime.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.decoders.grid import Levels, Output, cells, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, floor_of, probabilities, strong_rows
from qviz.structures import Graph, Settings
from qviz.structures.boxes import from_centres

COCO = 80
PYRAMIDS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the usual models, of P6 models and of P2 models."""
NORMALISED_UP_TO = 2.0
"""Centres are in pixels if the largest is above this; normalised ones are in [0, 1], or slightly outside at borders."""
MIN_CORRELATION = 0.9
"""Minimum correlation of centres with the positions of their cells; the correlation of offsets is near 0."""
MAX_OFFSET = 32.0
"""Largest offset in cells; larger values are centres in pixels."""
ANGLE, MIN_ANGLES = 0.01, 0.01
"""A last column below -ANGLE or above 1 + ANGLE in more than this share of the cells is an angle in radians."""
CONFIDENT = 0.3
"""Scores above this are taken to belong to an object."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Output):
    """The single output, with the levels that its rows cover."""

    levels: Levels


def rows_of(graph: Graph, pyramids: Iterable[Sequence[int]], per_cell: int = 1) -> Rows | None:
    """The single output, read over the first set of strides whose number of cells fits; None if none fits."""
    if len(graph.outputs) != 1 or len(graph.output_tensors()[0].shape) > 3:
        return None
    for levels in (levels_of(graph, strides) for strides in pyramids):
        for output in outputs_over(graph.output_tensors(), levels, per_cell):
            return Rows(output.tensor, output.columns, output.first, output.per_cell, levels)
    return None


def has_objectness(graph: Graph, rows: Rows) -> bool | None:
    """Whether there is an objectness column; None if the file does not determine it."""
    if graph.notes.classes and rows.columns - graph.notes.classes in (4, 5):
        return rows.columns - graph.notes.classes == 5
    if rows.columns in (COCO + 4, COCO + 5):
        return rows.columns == COCO + 5
    if rows.first or any(op.kind == "SOFTMAX" for op in graph.ops):
        return False
    return None


def in_pixels(boxes: np.ndarray, head: Head, largest: float) -> np.ndarray:
    """Boxes (n, 4) in pixels of the input. They are taken as normalised if `largest` is at most NORMALISED_UP_TO.

    largest: the largest coordinate that the caller trusts.
    """
    return boxes * np.array([head.width, head.height] * 2, np.float32) if largest <= NORMALISED_UP_TO else boxes


def boxes_of(centres: np.ndarray, head: Head) -> np.ndarray:
    """Boxes (n, 4) as xyxy in pixels from x, y, w, h, which are in pixels or, if no centre is above 2, normalised."""
    return from_centres(in_pixels(centres, head, float(centres[:, :2].max(initial=0))))


def corners_of(coordinates: np.ndarray, head: Head) -> np.ndarray:
    """Boxes (n, 4) as xyxy in pixels from corners, which are in pixels or, if none is above 2, normalised."""
    return in_pixels(coordinates, head, float(coordinates.max(initial=0)))


def decode_products(boxes: np.ndarray, values: np.ndarray, limits: Limits) -> Decoded:
    """Detections of heads with objectness: the score of a class is objectness times class score.

    boxes: (n, 4) xyxy pixels; values: (n, 1 + classes) objectness and class scores, logits or probabilities.
    """
    objectness = probabilities(values[:, 0])
    classes = probabilities(values[:, 1:])
    strong = np.flatnonzero(objectness >= floor_of(limits))  # the product is at most the objectness
    return decoded(boxes[strong], objectness[strong, None] * classes[strong], limits)


class RowDecoder(Decoder[Rows]):
    """Decoder of outputs with one row per box. others: number of columns besides the class scores."""

    pyramids: Sequence[Sequence[int]] = PYRAMIDS
    per_cell = 1
    others = 5

    def parts(self, graph: Graph) -> Rows | None:
        if graph.notes.task not in ("", "detect"):
            return None  # keypoints, masks or an angle follow the scores
        rows = rows_of(graph, self.pyramids, self.per_cell)
        return rows if rows is not None and rows.columns > self.others and self.fits(graph, rows) else None

    def fits(self, graph: Graph, rows: Rows) -> bool:
        """Whether the columns are those of this head."""
        return True

    def classes(self, parts: Rows) -> int:
        return parts.columns - self.others


class YOLOv5(RowDecoder):
    """Decoder of rows with three boxes per cell."""

    expects = "[1, n, 5 + classes], three boxes per cell of strides 8, 16, 32, decoded, with objectness"
    defaults = replace(UNIT_INPUT, nms_iou=0.6)
    pyramids = ((8, 16, 32), (8, 16, 32, 64), (16, 32))  # (16, 32): tiny models
    per_cell = 3

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        return decode_products(boxes_of(values[:, :4], head), values[:, 4:], limits)


class YOLOv8(RowDecoder):
    """Decoder of YOLOv8, YOLO11 and their successors: one box per cell, in a row or a column."""

    expects = "[1, 4 + classes, n] or [1, n, 4 + classes], one box per cell of strides 8, 16, 32, without objectness"
    defaults = UNIT_INPUT
    others = 4

    def fits(self, graph: Graph, rows: Rows) -> bool:
        return not has_objectness(graph, rows)

    def fit(self, head: Head) -> float | None:
        """The fit of the boxes (`layout_fit`) times the share of objects that do not seem to have an objectness.

        The fit is 0 if a score follows the position of its cell, as keypoints do, or if only the last column has values
        below 0 or above 1, as angles have.
        """
        rows = self.parts(head.graph)
        if rows is None:
            return None
        values = rows.of(head)
        scores = are_scores(values[:, self.others :], rows)
        return scores * self.layout_fit(values[:, :4], head, rows) * (1 - share_of_objectness(values))

    def layout_fit(self, coordinates: np.ndarray, head: Head, rows: Rows) -> float:
        """How plausible it is that the first four columns are centre and size, in [0, 1].

        Corners read as centre and size give huge boxes, which contain their cells as well. Centre and size read as
        corners give boxes that do not contain their cells. So if the columns fit as corners, they are corners.
        """
        corners = share_inside(corners_of(coordinates, head), rows.levels)
        return share_inside(boxes_of(coordinates, head), rows.levels) * (1 - corners)

    def boxes(self, coordinates: np.ndarray, head: Head) -> np.ndarray:
        """Boxes (n, 4) as xyxy in pixels, from the first four columns."""
        return boxes_of(coordinates, head)

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        scores = probabilities(values[:, self.others : self.others + self.classes(parts)])
        strong = strong_rows(scores, limits)
        return decoded(self.boxes(values[:, :4], head)[strong], scores[strong], limits)


class YOLOv8Corners(YOLOv8):
    """Decoder of YOLOv8's rows with x1, y1, x2, y2 in place of centre and size, as in YOLOv10 without its top-k."""

    expects = "as yolov8, with x1, y1, x2, y2 in place of x, y, w, h"

    def layout_fit(self, coordinates: np.ndarray, head: Head, rows: Rows) -> float:
        return share_inside(corners_of(coordinates, head), rows.levels)

    def boxes(self, coordinates: np.ndarray, head: Head) -> np.ndarray:
        return corners_of(coordinates, head)


def share_inside(boxes: np.ndarray, levels: Levels) -> float:
    """The share of cells whose centre is inside their box, in [0, 1].

    It is high if the boxes are decoded correctly, because the network predicts the distances from the cell's centre to
    the sides. A tenth of a cell is allowed for rounding.
    """
    grid = cells(levels)
    centres, slack = (grid[:, :2] + 0.5) * grid[:, 2:], 0.1 * grid[:, 2:]
    inside = (boxes[:, :2] <= centres + slack) & (centres - slack <= boxes[:, 2:])
    return float(inside.all(axis=1).mean()) if len(boxes) else 0.0


def follows_cells(columns: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(k,) bool: which of the columns (n, k) are correlated with the position of their cell in x or in y.

    Such columns are positions. The correlation of scores with the position is near 0. grid: the result of `cells`.
    """
    positions = (grid[:, :2] + 0.5) * grid[:, 2:]
    centred = columns - columns.mean(axis=0, keepdims=True)
    axes = positions - positions.mean(axis=0, keepdims=True)
    scale = np.linalg.norm(centred, axis=0)[:, None] * np.linalg.norm(axes, axis=0)[None]
    products = centred.T @ axes  # [k, 2]
    correlations = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    return np.asarray(correlations.max(axis=1, initial=0) > MIN_CORRELATION)


def are_scores(columns: np.ndarray, rows: Rows) -> bool:
    """Whether columns (n, k) may be scores: none is a position, and the last one is not an angle."""
    return not ends_in_angle(columns) and not follows_cells(columns, cells(rows.levels)).any()


def ends_in_angle(columns: np.ndarray) -> bool:
    """Whether the last of the columns (n, k) is an angle: it exceeds [0, 1] in some cells, and no other column does."""
    scores, last = columns[:, :-1], columns[:, -1]
    are_probabilities = scores.size > 0 and bool(scores.min() >= 0 and scores.max() <= 1)
    return are_probabilities and float((np.abs(last - 0.5) > 0.5 + ANGLE).mean()) > MIN_ANGLES


def share_of_objectness(values: np.ndarray) -> float:
    """Among rows with a high first score, the share in which another score is high, too; 0.5 if there is no such row.

    An objectness is high together with the score of a class. If all scores are of classes, mostly only one is high.
    """
    scores = probabilities(values[:, 4:])
    strong = scores[scores[:, 0] > CONFIDENT]
    if len(strong) == 0 or scores.shape[1] < 2:
        return 0.5
    return float((strong[:, 1:].max(axis=1) > CONFIDENT).mean())


class YOLOX(RowDecoder):
    """Decoder of YOLOX: one box per cell, mostly not decoded in the file."""

    expects = "[1, n, 5 + classes], one box per cell of strides 8, 16, 32, decoded or not, with objectness"
    defaults = Settings(
        mean=(0.0,) * 3, std=(1.0,) * 3, channels="bgr", resize="letterbox-top-left", nms_iou=0.65, max_detections=100
    )
    pyramids = PYRAMIDS[:1]

    def fits(self, graph: Graph, rows: Rows) -> bool:
        return has_objectness(graph, rows) is not False

    def fit(self, head: Head) -> float | None:
        """The share of objects that seem to have an objectness (`share_of_objectness`); 0 if scores are positions."""
        rows = self.parts(head.graph)
        if rows is None:
            return None
        values = rows.of(head)
        return share_of_objectness(values) * are_scores(values[:, self.others :], rows)

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values, grid = parts.of(head), cells(parts.levels)
        inside = decoded_inside(values[:, :2], grid)
        boxes = boxes_of(values[:, :4], head) if inside else _boxes(values[:, :4], grid)
        return decode_products(boxes, values[:, 4:], limits)


def decoded_inside(xy: np.ndarray, grid: np.ndarray) -> bool:
    """Whether xy (n, 2) are decoded centres rather than offsets from the cells of `grid` (n, 3)."""
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
