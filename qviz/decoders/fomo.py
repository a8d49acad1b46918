"""FOMO (Edge Impulse): class scores for each cell, without boxes.

The output is [1, h, w, 1 + classes] after softmax, the background first, over cells of stride 8 (12 x 12 cells for an
input of 96). If no neighbour of a cell has a higher score for a class, the cell is returned as a box of one cell. The
box shows the position of the object, but not its size. Source: Edge Impulse SDK, classifier/ei_fill_result_struct.h
(which joins neighbouring cells instead).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qviz.decoders.grid import Level, Output, cells, levels_of, outputs_over
from qviz.decoders.head import UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities
from qviz.structures import Graph

STRIDE = 8

Parts = tuple[Output, Level]


class Fomo(Decoder[Parts]):
    """Decoder that returns the centres of objects as boxes of one cell."""

    expects = "[1, h, w, 1 + classes] after a softmax, one class per cell of stride 8"
    defaults = replace(UNIT_INPUT, resize="stretch")
    note = (
        "finds centres, not sizes: each is shown as a square of one cell (8 pixels of the input), so AP and overlaps"
        " say little; count the objects instead"
    )
    check_sizes = False

    def parts(self, graph: Graph) -> Parts | None:
        levels, tensors = levels_of(graph, (STRIDE,)), graph.output_tensors()
        if not levels or len(tensors) != 1 or len(tensors[0].shape) != 4:
            return None
        outputs = outputs_over(tensors, levels)
        fits = outputs and not outputs[0].first and 2 <= outputs[0].columns <= 64
        return (outputs[0], levels[0]) if fits and ends_in_probabilities(graph, tensors[0]) else None

    def classes(self, parts: Parts) -> int:
        return parts[0].columns - 1

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        output, level = parts
        scores = np.clip(output.of(head)[:, 1:], 0, 1)
        peaks = _peaks(scores.reshape(level.rows, level.columns, -1)).reshape(scores.shape)
        grid = cells((level,))
        corners = grid[:, :2] * STRIDE
        boxes = np.concatenate([corners, corners + STRIDE], axis=1)
        return decoded(boxes, np.where(peaks, scores, 0), replace(limits, class_offset=0))


def _peaks(scores: np.ndarray) -> np.ndarray:
    """(h, w, classes) bool: whether a cell is a peak, i.e. no neighbour has a higher score.

    If neighbours have equal scores, only the first of them is a peak.
    """
    rows, columns, _ = scores.shape
    padded = np.pad(scores, ((1, 1), (1, 1), (0, 0)), constant_values=-1.0)
    peaks = np.ones(scores.shape, bool)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            neighbour = padded[dy : dy + rows, dx : dx + columns]
            earlier = (dy, dx) < (1, 1)
            if (dy, dx) != (1, 1):
                peaks &= (scores > neighbour) if earlier else (scores >= neighbour)
    return peaks
