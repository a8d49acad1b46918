"""CenterNet: a heatmap of object centres with a size and an offset for each cell, without anchors or NMS.

The three outputs, over cells of stride 4 (or 8, or 2), come in any order: heatmap [1, h, w, classes] (after sigmoid or
before), sizes [1, h, w, 2] (width, height) and offsets [1, h, w, 2] (x, y within the cell), the latter two in units of
cells. Columns may also come first. An object is a cell whose score none of its eight neighbours exceeds:
    cx = (column + offset x) * stride    w = size w * stride    likewise in y      (pixels)
Sizes and offsets are told apart by name, else by value: offsets are in [0, 1], so the tensor with the larger values has
the sizes. Source: CenterNet/src/lib/models/decode.py (ctdet_decode). The Object Detection API's CenterNet has
post-processing of its own and puts y before x; this decoder does not read it.
"""

from __future__ import annotations

import re

import numpy as np

from qviz.decoders.grid import Level, Output, cells, levels_of, outputs_over
from qviz.decoders.head import Decoded, Decoder, Head, Limits
from qviz.decoders.scores import candidates_of, ends_in_probabilities, floor_of, probabilities
from qviz.structures import Graph, Settings
from qviz.structures.boxes import from_centres

STRIDES = (4, 8, 2)
SIZES, OFFSETS = re.compile(r"wh|size|dim|scale"), re.compile(r"off|reg")
NAMED_PAIR = re.compile(f"{SIZES.pattern}|{OFFSETS.pattern}")

Parts = tuple[Level, Output, list[Output]]
"""(level, heatmap, sizes and offsets in any order)."""


class CenterNet(Decoder[Parts]):
    """Decoder whose detections are the local maxima of the heatmap and whose candidates are all cells."""

    expects = "heatmap [1, h, w, classes], sizes [1, h, w, 2] and offsets [1, h, w, 2] of stride 4, in any order"
    defaults = Settings(
        mean=(104.04, 113.985, 119.85),
        std=(73.695, 69.87, 70.89),
        channels="bgr",
        resize="letterbox",
        nms_iou=0.5,
        max_detections=100,
    )

    def parts(self, graph: Graph) -> Parts | None:
        tensors = graph.output_tensors()
        for level in levels_of(graph, STRIDES) if len(tensors) == 3 else ():
            placed = outputs_over([tensor for tensor in tensors if len(tensor.shape) == 4], (level,))
            unnamed = [entry for entry in placed if not NAMED_PAIR.search(entry.tensor.name)]
            pairs = [entry for entry in placed if entry.columns == 2]
            if len(placed) == 3 and len(pairs) == 3 and len(unnamed) == 1:  # two classes
                pairs = [entry for entry in pairs if entry is not unnamed[0]]
            if len(placed) == 3 and len(pairs) == 2:
                return level, next(entry for entry in placed if entry not in pairs), pairs
        return None

    def classes(self, parts: Parts) -> int:
        return parts[1].columns

    def decode_parts(self, parts: Parts, head: Head, limits: Limits) -> Decoded:
        level, heatmap, pairs = parts
        certain = ends_in_probabilities(head.graph, heatmap.tensor)
        scores = probabilities(heatmap.of(head), certain)[:, limits.class_offset :]
        sizes, offsets = _sizes_and_offsets(head, *pairs)
        grid = cells((level,))
        boxes = from_centres(np.concatenate([grid[:, :2] + offsets, sizes], axis=1) * grid[:, 2:])
        peaks = candidates_of(boxes, np.where(_peaks(scores, level), scores, 0), max(floor_of(limits), 1e-9))
        candidates = candidates_of(boxes, scores, limits.floor)
        return Decoded(peaks.above(limits.score)[: limits.max_detections], candidates)


def _sizes_and_offsets(head: Head, first: Output, second: Output) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, offsets), each (cells, 2)."""
    texts = [head.graph.names_of(output.tensor) for output in (first, second)]
    rows = first.of(head), second.of(head)
    for pattern, is_sizes in ((SIZES, True), (OFFSETS, False)):
        one, other = (bool(pattern.search(text)) for text in texts)
        if one != other:
            return rows if one == is_sizes else rows[::-1]
    return rows if rows[0].max(initial=0) >= rows[1].max(initial=0) else rows[::-1]


def _peaks(scores: np.ndarray, level: Level) -> np.ndarray:
    """(cells, classes) bool: whether no score of the class in the 3 x 3 cells around is higher."""
    maps = scores.reshape(level.rows, level.columns, -1)
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    highest = maps
    for down in range(3):
        for right in range(3):
            highest = np.maximum(highest, padded[down : down + level.rows, right : right + level.columns])
    return (maps >= highest).reshape(scores.shape)
