"""The last steps of most heads: from scores to candidates, and through non-maximum suppression to detections.

Scores are probabilities in [0, 1]. Heads without a final sigmoid output logits, which are recognised by their mean: it
is far below zero because nearly all cells are background.
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import Decoded, Limits
from qviz.structures import Detections, Graph, Op, Tensor
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.structures.graph import DATA_MOVERS

MAX_CANDIDATES = 5000
"""Maximum number of candidates. If there are more, those with the highest scores are used."""
LOGITS_BELOW = -0.5
"""If the mean score of all cells is below this, the scores are logits. Probabilities have a mean near 0, which even
coarse quantization does not move this far."""


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Probabilities from logits of any shape."""
    scores: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -60, 60)))
    return scores


def softmax(values: np.ndarray) -> np.ndarray:
    """Probabilities from logits (n, classes); each row sums to 1."""
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    shares: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return shares


def probabilities(values: np.ndarray, certain: bool = False) -> np.ndarray:
    """Scores of any shape as probabilities. certain: whether the graph shows that they are probabilities already."""
    logits = not certain and values.size > 0 and float(values.mean()) < LOGITS_BELOW
    return sigmoid(values) if logits else np.clip(values, 0, 1)


def first_is_classes(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether the first of two arrays has the classes (whole numbers); scores are at most 1 and rarely all whole."""
    return _whole(first) and (not _whole(second) or bool(first.max(initial=0) > 1))


def _whole(values: np.ndarray) -> bool:
    return bool(np.all(values == np.rint(values)))


def ends_in_probabilities(graph: Graph, tensor: Tensor) -> bool:
    """Whether a LOGISTIC or SOFTMAX computes the tensor's values. Operators that only move values are skipped."""
    op: Op | None = graph.producer(tensor.index)
    for _ in graph.ops:  # a damaged file may have a cycle
        if op is None or op.kind not in DATA_MOVERS or not op.inputs or op.inputs[0] is None:
            break
        op = graph.producer(op.inputs[0])
    return op is not None and op.kind in ("LOGISTIC", "SOFTMAX")


def floor_of(limits: Limits) -> float:
    """Minimum score of a box that is decoded, because it is needed as a candidate or as a detection."""
    return min(limits.score, limits.floor)


def strong_rows(scores: np.ndarray, limits: Limits) -> np.ndarray:
    """Indices (k,) of the rows of `scores` (n, classes) in which some score is at least `floor_of(limits)`."""
    return np.flatnonzero(scores.max(axis=1, initial=0) >= floor_of(limits))


def decoded(boxes: np.ndarray, scores: np.ndarray, limits: Limits, **shapes: np.ndarray) -> Decoded:
    """Candidates and detections from boxes (n, 4), xyxy pixels of the input, and scores (n, classes).

    shapes: optional fields of `Detections`, by name, each with n rows.
    """
    candidates = candidates_of(boxes, scores[:, limits.class_offset :], floor_of(limits), **shapes)
    return suppressed(candidates, limits)


def suppressed(candidates: Detections, limits: Limits) -> Decoded:
    """Detections from candidates by NMS."""
    detections = suppress(candidates.above(limits.score), limits.nms_iou, limits.max_detections)
    return Decoded(detections, candidates.above(limits.floor))


def candidates_of(
    boxes: np.ndarray, scores: np.ndarray, floor: float = CANDIDATE_FLOOR, **shapes: np.ndarray
) -> Detections:
    """The best `MAX_CANDIDATES` candidates: one for each box (n, 4) and class with a score of at least `floor`.

    Args:
        scores: (n, classes) without background.
        shapes: Optional fields of `Detections`, by name, each with n rows.
    """
    anchor, class_id = np.nonzero(scores >= floor)
    values = scores[anchor, class_id]
    best = _highest(values, MAX_CANDIDATES)
    chosen = {name: array[anchor[best]] for name, array in shapes.items()}
    return Detections.of(boxes[anchor[best]], values[best], class_id[best], **chosen)


def _highest(values: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest values, by falling value; the order of equal values does not change."""
    if len(values) <= count:
        return np.argsort(-values, kind="stable")
    bound = np.partition(values, -count)[-count]
    high = np.flatnonzero(values >= bound)  # sorting these is much faster than sorting all
    return high[np.argsort(-values[high], kind="stable")[:count]]


def suppress(candidates: Detections, iou: float, max_detections: int) -> Detections:
    """Greedy NMS within each class: drop candidates whose IoU with a better remaining one exceeds `iou`.

    Returns at most `max_detections` detections by falling score. It stops once there are as many.
    """
    candidates = candidates.by_score()[:MAX_CANDIDATES]
    survivors = np.zeros(0, int)
    for start in range(0, len(candidates), BLOCK):
        if len(survivors) >= max_detections:
            break
        block = np.arange(start, min(start + BLOCK, len(candidates)))
        free = block[~_rivals(candidates[survivors], candidates[block], iou).any(axis=0)]
        rivals = np.triu(_rivals(candidates[free], candidates[free], iou), 1)
        alive = np.ones(len(free), bool)
        for row in range(len(free)):
            if alive[row]:
                alive &= ~rivals[row]
        survivors = np.concatenate([survivors, free[alive]])
    return candidates[survivors[:max_detections]]


BLOCK = 128
"""Number of candidates whose overlaps are computed at once."""


def _rivals(first: Detections, second: Detections, iou: float) -> np.ndarray:
    """(n, m) whether two detections have the same class and an IoU above `iou`."""
    same: np.ndarray = first.class_ids[:, None] == second.class_ids[None]
    return same & ~(first.overlaps(second) <= iou)
