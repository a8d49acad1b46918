"""Sets of boxes without NMS: DETR, RT-DETR, D-FINE, LW-DETR, and open-vocabulary detectors with fixed classes.

The outputs, in any order, are boxes [1, q, 4] and scores [1, q, classes], logits or probabilities; q is the number of
queries, mostly 100 to 900. Boxes are x, y, w, h (centre and size) in [0, 1], or corners if reading them as corners
gives upright boxes only. DETR has one more column at the end of the scores, "no object", which is recognised because it
is the largest in most rows. With this column, the scores are a softmax over the columns; without it, a sigmoid of each.
COCO's 91 columns are its category ids, of which 0 is unused.
Sources: facebookresearch/detr models/detr.py (PostProcess); lyuwenyu/RT-DETR rtdetr_postprocessor.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qviz.decoders.grid import cell_count, input_size, levels_of
from qviz.decoders.head import IMAGENET_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import candidates_of, ends_in_probabilities, floor_of, probabilities, softmax
from qviz.decoders.ssd import mobilenet_anchors
from qviz.decoders.yolo import PYRAMIDS, in_pixels
from qviz.structures import Graph, Tensor
from qviz.structures.boxes import from_centres

MAX_QUERIES = 1000
COCO_IDS = 91
NO_OBJECT = 92
"""Number of columns for COCO's 91 ids and "no object"."""

Parts = tuple[Tensor, Tensor]
"""(boxes, scores)."""


class BoxSet(Decoder[Parts]):
    """Decoder of heads with one box per query. Each object is found by a single query, so there is no NMS."""

    expects = "boxes [1, q, 4] and logits [1, q, classes] of up to 1000 queries, without NMS"
    defaults = replace(IMAGENET_INPUT, nms_iou=1.0)
    last_resort = True

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        if len(tensors) != 2 or any(len(t.shape) != 3 or t.shape[0] not in (1, -1) for t in tensors):
            return None
        queries = tensors[0].shape[1]
        if not 1 < queries <= MAX_QUERIES or tensors[1].shape[1] != queries or _one_per_cell(graph, queries):
            return None
        boxes = [t for t in tensors if t.shape[-1] == 4]
        if len(boxes) == 2:
            boxes = [t for t in boxes if "box" in graph.names_of(t)]
        scores = [t for t in tensors if t not in boxes]
        return (boxes[0], scores[0]) if len(boxes) == 1 and scores[0].shape[-1] >= 1 else None

    def classes(self, parts: Parts) -> int:
        columns = parts[1].shape[-1]
        return 90 if columns in (COCO_IDS, NO_OBJECT) else columns

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        boxes, values = (head.values[t.index].reshape(-1, t.shape[-1]) for t in parts)
        scores = _scores(values, ends_in_probabilities(head.graph, parts[1]))
        first = 1 if values.shape[1] in (COCO_IDS, NO_OBJECT) else limits.class_offset
        boxes = _corners(boxes, head)
        candidates = candidates_of(boxes, scores[:, first:], floor_of(limits))
        strong = candidates.above(limits.score).by_score()[: limits.max_detections]
        return Decoded(strong, candidates.above(limits.floor))


def _one_per_cell(graph: Graph, count: int) -> bool:
    """Whether another head has this number of boxes: one or three per cell, or one per anchor of SSD."""
    if input_size(graph) is None or count == len(mobilenet_anchors()):
        return True
    counts = [cell_count(levels_of(graph, strides)) for strides in PYRAMIDS]
    return any(count in (cells, 3 * cells) for cells in counts)


def _scores(values: np.ndarray, certain: bool) -> np.ndarray:
    """Probabilities (q, classes) without the column "no object"."""
    columns = values.shape[1]
    last = float((values.argmax(axis=1) == columns - 1).mean()) if columns > 2 else 0.0
    if columns == NO_OBJECT or last > 0.5:
        return (values if certain else softmax(values))[:, :-1]
    return probabilities(values, certain)


def _corners(boxes: np.ndarray, head: Head) -> np.ndarray:
    """Boxes (q, 4) as xyxy in pixels, from corners if nearly all are upright when read as such, else from centres."""
    boxes = in_pixels(boxes, head, float(boxes.max(initial=0)))
    upright = (boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean()
    return boxes if upright > 0.95 else from_centres(boxes)
