"""Decoded boxes, and scores in separate outputs, without NMS: YOLO-NAS, PP-YOLOE, DAMO-YOLO.

There is one box for each of the n cells of strides 8, 16 and 32. Boxes [1, n, 4] or [1, 4, n] are x1, y1, x2, y2, or
x, y, w, h (centre and size) if most boxes would be inverted otherwise; in pixels of the input, or normalised to [0, 1].
Besides them there are either scores [1, n, classes] (or columns first; after sigmoid or before), or each box's best
score [1, n] and its class [1, n]. A head that ends in NMS has another number of boxes. Sources: PaddleDetection
ppdet/modeling/heads/
ppyoloe_head.py; super_gradients/training/models/detection_models/yolo_nas; qai_hub_models/models/_shared/yolo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qviz.decoders.grid import Output, cell_count, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import (
    decoded,
    ends_in_probabilities,
    first_is_classes,
    floor_of,
    probabilities,
    strong_rows,
    suppressed,
)
from qviz.decoders.yolo import PYRAMIDS, in_pixels
from qviz.structures import Detections, Graph, Tensor
from qviz.structures.boxes import from_centres
from qviz.structures.detections import class_ids_of

BOXES, CLASSES = re.compile(r"box|loc|reg"), re.compile(r"class|label|categor")


@dataclass(frozen=True, slots=True)
class Parts:
    """The outputs of this head.

    Attributes:
        boxes: The boxes, (n, 4).
        scores: The scores, (n, classes); None if there are only the best ones.
        best: Best score and class of each box, two outputs (n,) in any order; empty if there are `scores`.
    """

    boxes: Output
    scores: Output | None
    best: tuple[Tensor, ...] = ()


class BoxesAndScores(Decoder[Parts]):
    """Decoded boxes, one per cell, with scores."""

    expects = "decoded boxes [1, n, 4], one per cell, with scores [1, n, classes] or with scores [1, n], classes [1, n]"
    defaults = UNIT_INPUT

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        for strides in PYRAMIDS if len(tensors) in (2, 3) else ():
            levels = levels_of(graph, strides)
            flat = tuple(t for t in tensors if t.shape in ((1, cell_count(levels)), (-1, cell_count(levels))))
            rest = [t for t in tensors if t not in flat and len(t.shape) == 3]
            placed = outputs_over(rest, levels)
            if len(placed) + len(flat) == len(tensors) and (parts := _split(graph, placed, flat)) is not None:
                return parts
        return None

    def classes(self, parts: Parts) -> int | None:
        return parts.scores.columns if parts.scores else None

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        boxes = _corners(parts.boxes.of(head), head)
        if parts.scores is not None:
            certain = ends_in_probabilities(head.graph, parts.scores.tensor)
            scores = probabilities(parts.scores.of(head), certain)
            strong = strong_rows(scores, limits)
            return decoded(boxes[strong], scores[strong], limits)
        best, classes = _score_and_class(head, parts.best)
        candidates = Detections.of(boxes, probabilities(best), class_ids_of(classes, limits.class_offset))
        return suppressed(candidates[candidates.class_ids >= 0].above(floor_of(limits)), limits)


def _split(graph: Graph, placed: list[Output], flat: tuple[Tensor, ...]) -> Parts | None:
    boxes = [entry for entry in placed if entry.columns == 4]
    if len(boxes) == 2:  # with four classes, a sigmoid before the scores or the boxes' name decides
        not_scores = [entry for entry in boxes if not ends_in_probabilities(graph, entry.tensor)]
        named = [entry for entry in boxes if BOXES.search(graph.names_of(entry.tensor))]
        boxes = not_scores if len(not_scores) == 1 else named
    if len(boxes) != 1 or (len(placed), len(flat)) not in ((2, 0), (1, 2)):
        return None
    scores = next((entry for entry in placed if entry is not boxes[0]), None)
    return Parts(boxes[0], scores, flat)


def _score_and_class(head: Head, rows: tuple[Tensor, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(scores, classes), each (n,), told apart by name, else by value: classes are whole numbers, scores rarely."""
    first, second = (head.values[tensor.index].reshape(-1) for tensor in rows)
    one, other = (bool(CLASSES.search(head.graph.names_of(tensor))) for tensor in rows)
    if one == other:
        one = first_is_classes(first, second)
    return (second, first) if one else (first, second)


def _corners(boxes: np.ndarray, head: Head) -> np.ndarray:
    """Boxes (n, 4) as xyxy in pixels."""
    boxes = in_pixels(boxes, head, float(boxes.max(initial=0)))
    upright = np.mean(np.all(boxes[:, 2:] >= boxes[:, :2], axis=1))
    return boxes if upright > 0.5 else from_centres(boxes)
