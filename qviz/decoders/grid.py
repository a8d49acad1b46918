"""The cells that a detector predicts from, and output tensors laid out over them.

A level is a feature map: one cell every `stride` pixels, ceil(width / stride) x ceil(height / stride) cells in row
order. Tensors have c values per cell (or per box, of a boxes per cell) in one of these layouts:
(n, c), (1, n, c), (1, c, n) over one or more levels in sequence; (1, h, w, a * c), (1, a * c, h, w) over one level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from qviz.structures import Graph


@dataclass(frozen=True, slots=True)
class Level:
    """stride in pixels of the input; rows, columns in cells."""

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
    """The levels for the graph's input size; empty if that is unknown."""
    size = input_size(graph)
    return tuple(Level(s, -(-size[1] // s), -(-size[0] // s)) for s in strides) if size else ()


def cell_count(levels: Sequence[Level]) -> int:
    """Cells of all levels."""
    return sum(level.cells for level in levels)


@lru_cache(maxsize=16)
def cells(levels: Levels) -> np.ndarray:
    """(n, 3) float32 column, row and stride of every cell, level by level; read-only."""
    blocks = []
    for level in levels:
        row, column = np.divmod(np.arange(level.cells), level.columns)
        blocks.append(np.stack([column, row, np.full(level.cells, level.stride)], axis=1))
    grid = np.concatenate(blocks).astype(np.float32)
    grid.flags.writeable = False
    return grid


@dataclass(frozen=True, slots=True)
class Layout:
    """columns: values per box; first: whether the columns come before the cells, as in (1, c, n)."""

    columns: int
    first: bool
    per_cell: int = 1

    def rows(self, values: np.ndarray) -> np.ndarray:
        """(n * per_cell, columns) of a tensor with this layout."""
        plane = values.reshape(self.columns * self.per_cell, -1).T if self.first else values
        return plane.reshape(-1, self.columns)


def layout(shape: Sequence[int], levels: Sequence[Level], per_cell: int = 1) -> Layout | None:
    """The layout of a tensor over these levels with `per_cell` boxes per cell, or None if its shape does not fit."""
    inner = list(shape[1:] if len(shape) > 2 and shape[0] in (1, -1) else shape)
    if not levels or min(inner, default=0) < 1:
        return None
    if len(inner) == 2:
        return _flat(inner, cell_count(levels) * per_cell)
    return _map(inner, levels[0], per_cell) if len(inner) == 3 and len(levels) == 1 else None


def _flat(inner: list[int], boxes: int) -> Layout | None:
    if boxes not in inner:
        return None
    first = inner[0] != boxes
    return Layout(inner[0 if first else 1], first)


def _map(inner: list[int], level: Level, per_cell: int) -> Layout | None:
    """(h, w, a * c) or (a * c, h, w)."""
    extent = [level.rows, level.columns]
    first = inner[:2] != extent
    values = inner[0 if first else 2]
    if (first and inner[1:] != extent) or values % per_cell:
        return None
    return Layout(values // per_cell, first, per_cell)
