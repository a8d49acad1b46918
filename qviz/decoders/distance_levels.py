"""Heads with class scores and binned distances in outputs of their own, a pair for each level.

Scores (after sigmoid or before) have a column a class, distances 4 x bins; formula in `distances`. The levels are told
apart by their number of cells, scores from distances by their columns (4 x bins is known of each family), in case of
doubt by name, by the operator that made them and at last by their values; never by position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qviz.decoders.distances import decode_distances
from qviz.decoders.grid import Layout, Level, cells, layout, levels_of
from qviz.decoders.head import Decoded, Head, Limits
from qviz.decoders.scores import ends_in_probabilities, probabilities
from qviz.errors import ModelError
from qviz.structures import Graph, Settings, Tensor

SCORES, DISTANCES = re.compile(r"cls|class|score|conf"), re.compile(r"dis|reg|box|bin|loc")


@dataclass(frozen=True, slots=True)
class LevelOutputs:
    """The two outputs of one level; `sure` where their shapes, names or operators tell which is which."""

    level: Level
    scores: tuple[Tensor, Layout]
    distances: tuple[Tensor, Layout]
    sure: bool


@dataclass(slots=True, eq=False)  # not frozen: the Protocol of decoders has plain attributes
class DistanceHead:
    """Scores and distances apart, an output each a level. bins: a side, as the family has them. NMS is ours."""

    expects: str
    defaults: Settings
    strides: tuple[int, ...]
    bins: tuple[int, ...]

    def matches(self, graph: Graph) -> bool:
        return bool(self._outputs(graph))

    def reads(self, graph: Graph) -> tuple[int, ...]:
        return ()

    def class_count(self, graph: Graph) -> int | None:
        outputs = self._outputs(graph)
        return outputs[0].scores[1].columns if outputs else None

    def decode(self, head: Head, limits: Limits) -> Decoded:
        outputs = self._outputs(head.graph)
        if not outputs:
            raise ModelError(f"has no pair of scores and distances for each of the strides {self.strides}.")
        sides = [_told_by_value(head, output) for output in outputs]
        scores, distances = (np.concatenate(parts) for parts in zip(*sides, strict=True))
        known = all(ends_in_probabilities(head.graph, output.scores[0]) for output in outputs)
        grid = cells(tuple(output.level for output in outputs))
        return decode_distances(probabilities(scores, known), distances, grid, 0.5, limits)

    def _outputs(self, graph: Graph) -> list[LevelOutputs]:
        """A pair of outputs a level, the finest first; empty where the graph does not end so."""
        levels, tensors = levels_of(graph, self.strides), graph.output_tensors()
        if len(tensors) != 2 * len(levels):
            return []
        pairs = [_pair(graph, level, tensors, self.bins) for level in levels]
        found = [pair for pair in pairs if pair is not None]
        columns = {(pair.scores[1].columns, pair.distances[1].columns) for pair in found}
        return found if len(found) == len(levels) and len(columns) == 1 else []


def _pair(graph: Graph, level: Level, tensors: tuple[Tensor, ...], bins: tuple[int, ...]) -> LevelOutputs | None:
    lying = [(tensor, lies) for tensor in tensors if (lies := layout(tensor.shape, (level,))) is not None]
    if len(lying) != 2:
        return None
    distances = [entry for entry in lying if entry[1].columns in {4 * count for count in bins}]
    if not distances:
        return None
    if len(distances) == 1:
        other = lying[1] if distances[0] is lying[0] else lying[0]
        return LevelOutputs(level, other, distances[0], True)
    first, second = lying
    told = _told(graph, first[0], second[0])
    scores, sides = (second, first) if told is False else (first, second)
    return LevelOutputs(level, scores, sides, told is not None)


def _told(graph: Graph, first: Tensor, second: Tensor) -> bool | None:
    """Whether the first holds the scores and the second the distances, by name or by operator; None: not told."""
    names = {index: name for name, index in graph.signature.items()}
    texts = [f"{tensor.name} {names.get(tensor.index, '')}".lower() for tensor in (first, second)]
    evidence = (
        [bool(SCORES.search(text)) for text in texts],
        [not DISTANCES.search(text) for text in texts],
        [ends_in_probabilities(graph, tensor) for tensor in (first, second)],
    )
    return next((one for one, other in evidence if one != other), None)


def _told_by_value(head: Head, output: LevelOutputs) -> tuple[np.ndarray, np.ndarray]:
    """(scores, distances) as rows; where nothing else told them apart, scores are what lies in [0, 1]."""
    first, second = (lies.rows(head.values[tensor.index]) for tensor, lies in (output.scores, output.distances))
    if output.sure:
        return first, second
    if _within_one(first) != _within_one(second):
        return (first, second) if _within_one(first) else (second, first)
    raise ModelError(
        f"has two outputs of {first.shape[1]} columns at stride {output.level.stride}, and neither name nor values tell"
        " scores from distances. Export it with names such as cls_8 and reg_8, or with the sigmoid inside."
    )


def _within_one(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= -0.01 and values.max(initial=0) <= 1.01)


def distance_head(defaults: Settings, strides: tuple[int, ...], bins: tuple[int, ...]) -> DistanceHead:
    """The head of a family, its `expects` in words."""
    levels = ", ".join(str(stride) for stride in strides)
    columns = " or ".join(str(4 * count) for count in bins)
    words = f"for each stride of {levels} scores [n, classes] and distances [n, {columns}], in any order"
    return DistanceHead(words, defaults, strides, bins)
