"""Which outputs hold class scores and which box encodings, for heads with anchors on several levels.

Encodings have four columns a box; so have scores of four classes, which names or operators must tell apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qviz.decoders.grid import Layout, Level, Levels, layout
from qviz.decoders.head import Head
from qviz.decoders.scores import ends_in_probabilities
from qviz.structures import Graph, Tensor

ENCODED = 4
NAMED_BOXES = re.compile(r"box|loc|encod|regress")

Lying = tuple[Tensor, Layout]


@dataclass(frozen=True, slots=True)
class AnchorOutputs:
    """scores and boxes: one output over all levels, or one a level, the finest first; classes: columns of scores."""

    scores: tuple[Lying, ...]
    boxes: tuple[Lying, ...]

    @property
    def classes(self) -> int:
        return self.scores[0][1].columns

    def rows(self, head: Head, part: tuple[Lying, ...]) -> np.ndarray:
        """(n, columns) of all levels."""
        return np.concatenate([lies.rows(head.values[tensor.index]) for tensor, lies in part])


def anchor_outputs(graph: Graph, levels: Levels, per_cell: int) -> AnchorOutputs | None:
    """The graph's outputs as scores and encodings of `per_cell` anchors a cell, or None where they are not such."""
    tensors = graph.output_tensors()
    if len(tensors) == 2:
        pairs = [_pair(graph, tensors, levels, per_cell)]
    elif levels and len(tensors) == 2 * len(levels):
        pairs = [_pair(graph, tensors, (level,), per_cell) for level in levels]
    else:
        return None
    found = [pair for pair in pairs if pair is not None]
    if len(found) != len(pairs) or len({scores[1].columns for scores, _ in found}) != 1:
        return None
    return AnchorOutputs(tuple(scores for scores, _ in found), tuple(boxes for _, boxes in found))


def _pair(
    graph: Graph, tensors: tuple[Tensor, ...], levels: tuple[Level, ...], per_cell: int
) -> tuple[Lying, Lying] | None:
    """(scores, encodings) of these levels."""
    lying = [(tensor, lies) for tensor in tensors if (lies := layout(tensor.shape, levels, per_cell)) is not None]
    boxes = [entry for entry in lying if entry[1].columns == ENCODED]
    if len(lying) != 2 or not boxes:
        return None
    if len(boxes) == 2:
        boxes = _told(graph, boxes)
    if len(boxes) != 1:
        return None
    return (lying[1] if boxes[0] is lying[0] else lying[0]), boxes[0]


def _told(graph: Graph, both: list[Lying]) -> list[Lying]:
    names = {index: name for name, index in graph.signature.items()}
    named = [entry for entry in both if NAMED_BOXES.search(f"{entry[0].name} {names.get(entry[0].index, '')}".lower())]
    return named if len(named) == 1 else [entry for entry in both if not ends_in_probabilities(graph, entry[0])]
