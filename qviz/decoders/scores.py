"""From scores to candidates and detections: the last steps of every head whose NMS is ours.

Scores are probabilities in [0, 1]. Where a head leaves the sigmoid out they are logits: nearly all cells show
background, so the mean of logits is far below zero and that of probabilities is not.
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import Decoded, Limits
from qviz.decoders.nms import suppress
from qviz.decoders.ssd_boxes import candidates_of
from qviz.structures import Detections, Graph, Op, Tensor

LOGITS_BELOW = -0.5
"""The mean of a whole head's scores under which they must be logits; coarse quantization does not carry 0 so far."""

MOVES = frozenset({"RESHAPE", "CONCATENATION", "QUANTIZE", "DEQUANTIZE", "TRANSPOSE", "SQUEEZE"})
"""Operators that hand values on as they are."""


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Logits to probabilities."""
    likely: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -60, 60)))
    return likely


def probabilities(values: np.ndarray, known: bool = False) -> np.ndarray:
    """Scores of any size as probabilities; known: the graph says that they are."""
    logits = not known and values.size > 0 and float(values.mean()) < LOGITS_BELOW
    return sigmoid(values) if logits else np.clip(values, 0, 1)


def ends_in_probabilities(graph: Graph, tensor: Tensor) -> bool:
    """Whether a LOGISTIC or SOFTMAX made a tensor of scores, seen through operators that only move values."""
    op: Op | None = graph.producer(tensor.index)
    for _ in graph.ops:  # a damaged file may go in circles
        if op is None or op.kind not in MOVES or not op.inputs or op.inputs[0] is None:
            break
        op = graph.producer(op.inputs[0])
    return op is not None and op.kind in ("LOGISTIC", "SOFTMAX")


def floor_of(limits: Limits) -> float:
    """The score from which a box of the head is worth decoding."""
    return min(limits.score, limits.floor)


def strong_rows(scores: np.ndarray, limits: Limits) -> np.ndarray:
    """(k,) indices of the rows whose best score (n, classes) reaches the floor: the rest need no box."""
    return np.flatnonzero(scores.max(axis=1, initial=0) >= floor_of(limits))


def decoded(boxes: np.ndarray, scores: np.ndarray, limits: Limits) -> Decoded:
    """boxes (n, 4) xyxy pixels of the input and scores (n, classes) to candidates, and through NMS to detections."""
    candidates = candidates_of(boxes, scores[:, limits.class_offset :], floor_of(limits))
    return suppressed(candidates, limits)


def suppressed(candidates: Detections, limits: Limits) -> Decoded:
    """Candidates of any score through NMS."""
    found = suppress(candidates.above(limits.score), limits.nms_iou, limits.max_detections)
    return Decoded(found, candidates.above(limits.floor))
