"""Boxes from binned distances to their four sides, as Generalized Focal Loss introduced them.

In pixels of the input, for a cell of a level with its stride and 4 x bins logits:
    distance = stride * sum_k k * softmax(bins)_k      for left, top, right, bottom, in this order
    box      = cx - left, cy - top, cx + right, cy + bottom      cx = (column + shift) * stride, cy likewise
shift is half a cell, and 0 in NanoDet-Plus. Sources: arXiv 2006.04388; nanodet/model/head/nanodet_head.py and
nanodet_plus_head.py; PaddleDetection ppdet/modeling/heads/pico_head.py; ultralytics/nn/modules/head.py.
"""

from __future__ import annotations

import numpy as np

from qviz.decoders.head import Decoded, Limits
from qviz.decoders.scores import decoded, strong_rows


def decode_distances(
    scores: np.ndarray, distances: np.ndarray, grid: np.ndarray, shift: float, limits: Limits
) -> Decoded:
    """scores (n, classes) probabilities, distances (n, 4 * bins) logits, grid (n, 3) column, row, stride."""
    strong = strong_rows(scores, limits)
    grid = grid[strong]
    bins = distances[strong].reshape(len(strong), 4, distances.shape[-1] // 4)
    sides = _expected(bins) * grid[:, 2:]  # [n, left top right bottom]
    centres = (grid[:, :2] + np.float32(shift)) * grid[:, 2:]
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1)
    return decoded(boxes, scores[strong], limits)


def _expected(logits: np.ndarray) -> np.ndarray:
    """(n, 4) the mean bin of each side's distribution over (n, 4, bins)."""
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    bins = np.arange(logits.shape[2], dtype=np.float32)
    expected: np.ndarray = weights @ bins / weights.sum(axis=2)
    return expected
