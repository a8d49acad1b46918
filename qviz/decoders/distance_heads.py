"""Heads with binned distances to the four sides of a box, as Generalized Focal Loss introduced them.

PicoDet and NanoDet end like this, and so do YOLOv8 and YOLO11 if they are cut off before the decoding (for accelerators
that quantize it badly). Each level has two outputs: scores (after sigmoid or before), one column per class, and
distances, 4 x bins logits. In pixels of the input, for a cell of a level with that level's stride:
    distance = stride * sum_k k * softmax(bins)_k      for left, top, right, bottom, in this order
    box      = cx - left, cy - top, cx + right, cy + bottom      cx = (column + shift) * stride, cy likewise
The shift is half a cell, except in NanoDet-Plus, where it is 0.

Levels are recognised by their number of cells. Distances are recognised by their number of columns, because each family
has a fixed number of bins. If this is ambiguous, the names decide, then the operators that compute the outputs, then
the values. The order of outputs does not matter.

Sources: arXiv 2006.04388; nanodet/model/head/nanodet_head.py and nanodet_plus_head.py; PaddleDetection
ppdet/modeling/heads/pico_head.py and configs/picodet (its input); ultralytics/nn/modules/head.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from qviz.decoders.grid import Level, Output, cells, levels_of, outputs_over
from qviz.decoders.head import IMAGENET_INPUT, UNIT_INPUT, Decoded, Decoder, Head, Limits
from qviz.decoders.scores import decoded, ends_in_probabilities, probabilities, strong_rows
from qviz.decoders.yolo import COCO, RowDecoder, Rows
from qviz.errors import ModelError
from qviz.structures import Graph, Settings, Tensor

SCORES, DISTANCES = re.compile(r"cls|class|score|conf"), re.compile(r"dis|reg|box|bin|loc")


@dataclass(frozen=True, slots=True)
class LevelOutputs:
    """The two outputs of one level. certain: whether shapes, names or operators show which of them is the scores."""

    level: Level
    scores: Output
    distances: Output
    certain: bool


@dataclass(frozen=True, slots=True, eq=False)
class DistanceHead(Decoder[list[LevelOutputs]]):
    """Decoder for one output of scores and one of distances per level. bins: possible numbers of bins per side."""

    expects: str
    defaults: Settings
    strides: tuple[int, ...]
    bins: tuple[int, ...]

    def parts(self, graph: Graph) -> list[LevelOutputs] | None:
        """The outputs of each level, the finest first; None if the graph does not end in this head."""
        levels, tensors = levels_of(graph, self.strides), graph.output_tensors()
        if not levels or len(tensors) != 2 * len(levels):
            return None
        pairs = [pair for level in levels if (pair := _pair(graph, level, tensors, self.bins)) is not None]
        columns = {(pair.scores.columns, pair.distances.columns) for pair in pairs}
        return pairs if len(pairs) == len(levels) and len(columns) == 1 else None

    def classes(self, parts: list[LevelOutputs]) -> int:
        return parts[0].scores.columns

    def decode_parts(self, parts: list[LevelOutputs], head: Head, limits: Limits) -> Decoded:
        values = [_scores_and_distances(head, output) for output in parts]
        scores, distances = (np.concatenate(arrays) for arrays in zip(*values, strict=True))
        certain = all(ends_in_probabilities(head.graph, output.scores.tensor) for output in parts)
        grid = cells(tuple(output.level for output in parts))
        return decode_distances(probabilities(scores, certain), distances, grid, 0.5, limits)


def _pair(graph: Graph, level: Level, tensors: tuple[Tensor, ...], bins: tuple[int, ...]) -> LevelOutputs | None:
    fitting = outputs_over(tensors, (level,))
    if len(fitting) != 2:
        return None
    distances = [entry for entry in fitting if entry.columns in {4 * count for count in bins}]
    if not distances:
        return None
    if len(distances) == 1:
        other = fitting[1] if distances[0] is fitting[0] else fitting[0]
        return LevelOutputs(level, other, distances[0], True)
    first, second = fitting
    in_order = _scores_come_first(graph, first.tensor, second.tensor)
    scores, sides = (second, first) if in_order is False else (first, second)
    return LevelOutputs(level, scores, sides, in_order is not None)


def _scores_come_first(graph: Graph, first: Tensor, second: Tensor) -> bool | None:
    """Whether the first output is the scores, by name or by operator; None if neither decides."""
    texts = [graph.names_of(tensor) for tensor in (first, second)]
    evidence = (
        [bool(SCORES.search(text)) for text in texts],
        [not DISTANCES.search(text) for text in texts],
        [ends_in_probabilities(graph, tensor) for tensor in (first, second)],
    )
    return next((one for one, other in evidence if one != other), None)


def _scores_and_distances(head: Head, output: LevelOutputs) -> tuple[np.ndarray, np.ndarray]:
    """(scores, distances), one row per cell. If it is not certain which is which, the scores are the one in [0, 1]."""
    first, second = output.scores.of(head), output.distances.of(head)
    if output.certain:
        return first, second
    if _within_one(first) != _within_one(second):
        return (first, second) if _within_one(first) else (second, first)
    raise ModelError(
        f"has two outputs of {first.shape[1]} columns at stride {output.level.stride}, and neither their names nor"
        " their values tell scores from distances. Export it with names such as cls_8 and reg_8, or with the sigmoid"
        " inside."
    )


def _within_one(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= -0.01 and values.max(initial=0) <= 1.01)


def decode_distances(
    scores: np.ndarray, distances: np.ndarray, grid: np.ndarray, shift: float, limits: Limits
) -> Decoded:
    """Detections from scores (n, classes), distances (n, 4 * bins) logits and grid (n, 3) column, row, stride."""
    strong = strong_rows(scores, limits)
    grid = grid[strong]
    bins = distances[strong].reshape(len(strong), 4, distances.shape[-1] // 4)
    sides = _expected(bins) * grid[:, 2:]  # [n, left top right bottom]
    centres = (grid[:, :2] + np.float32(shift)) * grid[:, 2:]
    boxes = np.concatenate([centres - sides[:, :2], centres + sides[:, 2:]], axis=1)
    return decoded(boxes, scores[strong], limits)


def _expected(logits: np.ndarray) -> np.ndarray:
    """Expected bin of each side, (n, 4), from logits (n, 4, bins)."""
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    bins = np.arange(logits.shape[2], dtype=np.float32)
    expected: np.ndarray = weights @ bins / weights.sum(axis=2)
    return expected


def distance_head(defaults: Settings, strides: tuple[int, ...], bins: tuple[int, ...]) -> DistanceHead:
    """The decoder of a family with these strides and numbers of bins."""
    levels = ", ".join(str(stride) for stride in strides)
    columns = " or ".join(str(4 * count) for count in bins)
    words = f"for each stride of {levels} scores [n, classes] and distances [n, {columns}], in any order"
    return DistanceHead(words, defaults, strides, bins)


PICODET_INPUT = IMAGENET_INPUT
NANODET_INPUT = replace(PICODET_INPUT, mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395), channels="bgr")
NANODET = distance_head(NANODET_INPUT, (8, 16, 32), (8, 11))
PICODET = distance_head(PICODET_INPUT, (8, 16, 32, 64), (8,))
YOLOV8_LEVELS = distance_head(UNIT_INPUT, (8, 16, 32), (16,))


class NanoDetPlus(RowDecoder):
    """One output [1, n, classes + 4 * 8] of all levels: class scores (after sigmoid), then the logits of the bins."""

    expects = "[1, n, classes + 32], one box per cell of strides 8, 16, 32, 64: scores, then binned distances"
    defaults = NANODET_INPUT
    pyramids = ((8, 16, 32, 64),)
    others = 4 * 8

    def fits(self, graph: Graph, rows: Rows) -> bool:
        """Whether the columns can be this head's.

        Files with a SOFTMAX integrate their distances themselves, and 84 columns belong to YOLOv8 with four levels.
        """
        return not (rows.first or rows.columns == COCO + 4 or any(op.kind == "SOFTMAX" for op in graph.ops))

    def decode_parts(self, parts: Rows, head: Head, limits: Limits) -> Decoded:
        values = parts.of(head)
        scores, distances = probabilities(values[:, : -self.others]), values[:, -self.others :]
        return decode_distances(scores, distances, cells(parts.levels), 0.0, limits)
