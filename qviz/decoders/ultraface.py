"""UltraFace (RFB and slim) and SSD-slim face detectors: box encodings and scores with their own square anchors.

The outputs are encodings [1, n, 4] and scores [1, n, 2] (background first); n is 4420 for 320 x 240. Exporters leave n
open (-1), as it follows from the input. Anchors are squares at the centres of the cells of stride 8, 16, 32 and 64.
Their sides in pixels, one anchor each, are 10 16 24 | 32 48 | 64 96 | 128 192 256.
    cx = tx * .1 * w + anchor's cx    w = exp(tw * .2) * anchor's w    y and h likewise      (all in [0, 1])
The file may contain this step already; its boxes are corners then, which is recognised by their values. Source:
Ultra-Light-Fast-Generic-Face-Detector-1MB, vision/ssd/config/fd_config.py and vision/utils/box_utils.py (2019).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from qviz.decoders.grid import Levels, levels_of
from qviz.decoders.head import SIGNED_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, softmax, strong_rows
from qviz.decoders.ssd import decode_boxes
from qviz.structures import Graph, Tensor

SIDES = {8: (10.0, 16.0, 24.0), 16: (32.0, 48.0), 32: (64.0, 96.0), 64: (128.0, 192.0, 256.0)}
"""Stride -> sides of its anchors in pixels."""
SCALES = (10.0, 10.0, 5.0, 5.0)
"""Scales of y, x, h, w in the box coder: 1 / variance, where the variance is .1 for the centre and .2 for the size."""

Parts = tuple[Tensor, Tensor]
"""(boxes or encodings, scores)."""


class UltraFace(Decoder[Parts]):
    """Decoder of face detectors, which have a single class."""

    expects = "encodings or boxes [1, n, 4] and scores [1, n, 2], n = 4420 for 320 x 240 (n may be dynamic): faces"
    defaults = replace(SIGNED_INPUT, mean=(127.0,) * 3, std=(128.0,) * 3, nms_iou=0.3, labels=("face",))

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        levels = levels_of(graph, tuple(SIDES))
        if len(tensors) != 2 or not levels or any(len(t.shape) != 3 or t.shape[0] not in (1, -1) for t in tensors):
            return None
        boxes = [t for t in tensors if t.shape[-1] == 4]
        scores = [t for t in tensors if t.shape[-1] == 2]
        if len(boxes) != 1 or len(scores) != 1:
            return None
        count = _count(levels)
        return (boxes[0], scores[0]) if all(t.shape[1] in (-1, count) for t in tensors) else None

    def classes(self, parts: Parts) -> int:
        return 1

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        values, scores = (head.values[t.index].reshape(-1, t.shape[-1]) for t in parts)
        if not ends_in_probabilities(head.graph, parts[1]):
            scores = softmax(scores)
        faces = scores[:, 1:]
        strong = strong_rows(faces, limits)
        size = (head.width, head.height)
        if _corners(values):
            boxes = (values * np.array([*size, *size], np.float32))[strong]
        else:
            anchors = anchors_of(levels_of(head.graph, tuple(SIDES)), *size)
            boxes = decode_boxes(values[strong][:, [1, 0, 3, 2]], anchors[strong], size, SCALES)
        return decoded(boxes, faces[strong], replace(limits, class_offset=0))


def _corners(values: np.ndarray) -> bool:
    """Whether the values are decoded boxes: nearly all have x1 < x2 and y1 < y2 and lie in or near the image."""
    upright = (values[:, 2:] > values[:, :2]).all(axis=1) & (np.abs(values - 0.5) < 1.5).all(axis=1)
    return bool(upright.mean() > 0.9)


def _count(levels: Levels) -> int:
    return sum(level.cells * len(SIDES[level.stride]) for level in levels)


@lru_cache(maxsize=4)
def anchors_of(levels: Levels, width: int, height: int) -> np.ndarray:
    """Anchors (n, 4) as cy, cx, h, w in [0, 1], clipped as in training. The array is cached; do not modify it."""
    blocks = []
    for level in levels:
        sides = np.array(SIDES[level.stride])
        row, column = np.divmod(np.arange(level.cells), level.columns)
        cy, cx = (row + 0.5) * level.stride / height, (column + 0.5) * level.stride / width
        columns = [cy, cx, np.ones_like(cy), np.ones_like(cx)]
        cell = np.stack(columns, axis=1)[:, None].repeat(len(sides), axis=1)
        cell[:, :, 2], cell[:, :, 3] = sides / height, sides / width
        blocks.append(cell.reshape(-1, 4))
    return np.clip(np.concatenate(blocks), 0, 1).astype(np.float32)
