"""The cells from which a detector predicts boxes, and output tensors that are laid out over them.

A level is a feature map: one cell every `stride` pixels, ceil(width / stride) x ceil(height / stride) cells in row
order. Tensors have c values per cell, or c per box if a cell has several (`a`) boxes, in one of these layouts:
(n, c), (1, n, c), (1, c, n) over one or more levels in sequence; (1, h, w, a * c), (1, a * c, h, w) over one level.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qviz.decoders.head import Head
from qviz.structures import Graph, Tensor


@dataclass(frozen=True, slots=True)
class Level:
    """One feature map. stride: in pixels of the input; rows, columns: number of cells in each direction."""

    stride: int
    rows: int
    columns: int

    @property
    def cells(self) -> int:
        return self.rows * self.columns


Levels = tuple[Level, ...]


def input_size(graph: Graph) -> tuple[int, int] | None:
    """(width, height) of the input image, or None if the graph has no image input of fixed size."""
    shape = graph.input_tensors()[0].shape if len(graph.inputs) == 1 else ()
    if len(shape) != 4 or min(shape[1:]) < 1:
        return None
    height, width = shape[1:3] if shape[-1] in (1, 3) else shape[2:4]
    return width, height


def levels_of(graph: Graph, strides: Sequence[int]) -> Levels:
    """The levels with these strides for the graph's input size; empty if that is unknown."""
    size = input_size(graph)
    return tuple(Level(s, -(-size[1] // s), -(-size[0] // s)) for s in strides) if size else ()


def cell_count(levels: Sequence[Level]) -> int:
    """Number of cells in all levels together."""
    return sum(level.cells for level in levels)


@lru_cache(maxsize=16)
def cells(levels: Levels) -> np.ndarray:
    """Column, row and stride of every cell, level by level, (n, 3) float32; read-only."""
    blocks = []
    for level in levels:
        row, column = np.divmod(np.arange(level.cells), level.columns)
        blocks.append(np.stack([column, row, np.full(level.cells, level.stride)], axis=1))
    grid = np.concatenate(blocks).astype(np.float32)
    grid.flags.writeable = False
    return grid


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """An output tensor laid out over the cells of one or more levels.

    Attributes:
        columns: Number of values per box.
        first: Whether the columns come before the cells, as in (1, c, n).
        per_cell: Number of boxes per cell in (1, h, w, a * c) or (1, a * c, h, w), else 1.
    """

    tensor: Tensor
    columns: int
    first: bool
    per_cell: int

    def of(self, head: Head) -> np.ndarray:
        """The output's values in one run, one row per box: (boxes, columns)."""
        values = head.values[self.tensor.index]
        plane = values.reshape(self.columns * self.per_cell, -1).T if self.first else values
        return plane.reshape(-1, self.columns)


def outputs_over(tensors: Iterable[Tensor], levels: Sequence[Level], per_cell: int = 1) -> list[Output]:
    """The tensors whose shape fits these levels with `per_cell` boxes per cell, as outputs."""
    return [output for tensor in tensors if (output := _output(tensor, levels, per_cell)) is not None]


def _output(tensor: Tensor, levels: Sequence[Level], per_cell: int) -> Output | None:
    shape = tensor.shape
    inner = list(shape[1:] if len(shape) > 2 and shape[0] in (1, -1) else shape)
    if not levels or min(inner, default=0) < 1:
        return None
    if len(inner) == 2:
        boxes = cell_count(levels) * per_cell
        first = inner[0] != boxes
        return Output(tensor, inner[0 if first else 1], first, 1) if boxes in inner else None
    if len(inner) != 3 or len(levels) != 1:
        return None
    extent = [levels[0].rows, levels[0].columns]
    first = inner[:2] != extent
    columns, rest = divmod(inner[0 if first else 2], per_cell)
    return None if (first and inner[1:] != extent) or rest else Output(tensor, columns, first, per_cell)
