"""CenterNet: a heatmap of object centres, with the size and the offset at each cell; no anchors, no NMS.

Three outputs over cells of stride 4 (8, 2), in any order: heatmap [1, h, w, classes] (after sigmoid or before), sizes
[1, h, w, 2] width and height, offsets [1, h, w, 2] x and y within the cell, both in cells; or the columns first. An
object is a cell that none of its eight neighbours exceeds:
    cx = (column + offset x) * stride    w = size w * stride    likewise in y      (pixels)
Sizes and offsets are told apart by name, else by value: offsets lie in [0, 1], and the tensor with the larger values
holds the sizes. Source: CenterNet/src/lib/models/decode.py (ctdet_decode). The Object Detection API's CenterNet ends
in a post-processing of its own and keeps y before x: it is not read here.
"""

from __future__ import annotations

import re

import numpy as np

from qviz.decoders.grid import Layout, Level, cells, layout, levels_of
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.nms import MAX_CANDIDATES
from qviz.decoders.scores import ends_in_probabilities, floor_of, probabilities
from qviz.decoders.ssd_boxes import candidates_of
from qviz.errors import ModelError
from qviz.structures import Graph, Settings, Tensor
from qviz.structures.boxes import from_centres

STRIDES = (4, 8, 2)
SIZES, OFFSETS = re.compile(r"wh|size|dim|scale"), re.compile(r"off|reg")

Lying = tuple[Tensor, Layout]


class CenterNet:
    """The highest of neighbouring cells stand for objects; candidates are all cells."""

    expects = "heatmap [1, h, w, classes], sizes [1, h, w, 2] and offsets [1, h, w, 2] of stride 4, in any order"
    defaults = Settings(
        mean=(104.04, 113.985, 119.85),
        std=(73.695, 69.87, 70.89),
        channels="bgr",
        resize="letterbox",
        nms_iou=0.5,
        max_detections=100,
    )

    def matches(self, graph: Graph) -> bool:
        return _parts(graph) is not None

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        parts = _parts(graph)
        return parts[1][1].columns if parts else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        parts = _parts(head.graph)
        if parts is None:
            raise ModelError("has no heatmap with sizes and offsets.")
        level, heatmap, pairs = parts
        known = ends_in_probabilities(head.graph, heatmap[0])
        scores = probabilities(_rows(head, heatmap), known)[:, limits.class_offset :]
        sizes, offsets = _told(head, *pairs)
        grid = cells((level,))
        boxes = from_centres(np.concatenate([grid[:, :2] + offsets, sizes], axis=1) * grid[:, 2:])
        found = candidates_of(boxes, np.where(_peaks(scores, level), scores, 0), max(floor_of(limits), 1e-9))
        found = found.above(limits.score)[: limits.max_detections]
        return Decoded(found, candidates_of(boxes, scores, limits.floor)[:MAX_CANDIDATES])


def _rows(head: Head, lying: Lying) -> np.ndarray:
    return lying[1].rows(head.values[lying[0].index])


def _parts(graph: Graph) -> tuple[Level, Lying, list[Lying]] | None:
    """(level, heatmap, the two pairs)."""
    tensors = graph.output_tensors()
    if len(tensors) != 3:
        return None
    for level in levels_of(graph, STRIDES):
        lying = [(t, lies) for t in tensors if len(t.shape) == 4 and (lies := layout(t.shape, (level,))) is not None]
        named = [entry for entry in lying if not SIZES.search(entry[0].name) and not OFFSETS.search(entry[0].name)]
        pairs = [entry for entry in lying if entry[1].columns == 2]
        if len(lying) == 3 and len(pairs) == 3 and len(named) == 1:  # two classes
            pairs = [entry for entry in pairs if entry is not named[0]]
        if len(lying) == 3 and len(pairs) == 2:
            return level, next(entry for entry in lying if entry not in pairs), pairs
    return None


def _told(head: Head, first: Lying, second: Lying) -> tuple[np.ndarray, np.ndarray]:
    """(sizes, offsets) as rows of two."""
    names = {index: name for name, index in head.graph.signature.items()}
    texts = [f"{tensor.name} {names.get(tensor.index, '')}".lower() for tensor, _ in (first, second)]
    rows = _rows(head, first), _rows(head, second)
    for pattern, holds_sizes in ((SIZES, True), (OFFSETS, False)):
        one, other = (bool(pattern.search(text)) for text in texts)
        if one != other:
            return rows if one == holds_sizes else rows[::-1]
    return rows if rows[0].max(initial=0) >= rows[1].max(initial=0) else rows[::-1]


def _peaks(scores: np.ndarray, level: Level) -> np.ndarray:
    """(cells, classes) bool: whether no neighbour of the 3 x 3 window is higher."""
    maps = scores.reshape(level.rows, level.columns, -1)
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)))
    highest = maps
    for down in range(3):
        for right in range(3):
            highest = np.maximum(highest, padded[down : down + level.rows, right : right + level.columns])
    return (maps >= highest).reshape(scores.shape)
