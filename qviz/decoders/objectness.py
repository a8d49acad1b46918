"""Scores of heads with objectness: score of a class = objectness x class score, both probabilities."""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import Decoded, Limits
from qviz.decoders.scores import decoded, floor_of, probabilities


def decode_products(boxes: np.ndarray, values: np.ndarray, limits: Limits) -> Decoded:
    """boxes (n, 4) xyxy pixels; values (n, 1 + classes) objectness and class scores, logits or probabilities."""
    objectness = probabilities(values[:, 0])
    classes = probabilities(values[:, 1:])
    strong = np.flatnonzero(objectness >= floor_of(limits))  # a product is never above its factors
    return decoded(boxes[strong], objectness[strong, None] * classes[strong], limits)
