"""Graphs that end in a given head, and constructed values of its outputs.

Unless a test says otherwise, a head reads an image of 96 x 64 pixels. It has 12 x 8 cells of stride 8, 6 x 4 of stride
16 and 3 x 2 of stride 32, i.e. 96 + 24 + 6 = 126 cells (128 with 2 x 1 of stride 64). One object of class 2 is planted
at BOX.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.decoders import Decoded, Head, Limits
from qviz.structures import Graph, Op, Tensor

WIDTH, HEIGHT = 96, 64
CELLS = 126
BOX = (30.0, 10.0, 62.0, 34.0)
CENTRE_X, CENTRE_Y, BOX_WIDTH, BOX_HEIGHT = 46.0, 22.0, 32.0, 24.0
CLASS = 2
LIMITS = Limits(score=0.25, nms_iou=0.6, max_detections=100)

CELL = 96 + 1 * 6 + 2
"""Index of the planted object's cell, which has stride 16, row 22 // 16 = 1 and column 46 // 16 = 2."""


def graph_of(
    *outputs: Sequence[int],
    size: tuple[int, int] = (WIDTH, HEIGHT),
    names: Sequence[str] = (),
    ends: Sequence[str] = (),
    nchw: bool = False,
) -> Graph:
    """A graph with outputs of these shapes. ends: kind of the operator that writes each output."""
    width, height = size
    image = (1, 3, height, width) if nchw else (1, height, width, 3)
    named = [*names, *(f"Identity_{i}" for i in range(len(names), len(outputs)))]
    shapes = [("image", image), *zip(named, outputs, strict=True)]
    tensors = tuple(Tensor(i, name, tuple(shape), "float32", None, False) for i, (name, shape) in enumerate(shapes))
    ops = tuple(Op(i, kind, (0,), (i + 1,)) for i, kind in enumerate(ends))
    return Graph(tensors, ops, (0,), tuple(range(1, len(tensors))))


def head_of(graph: Graph, *values: np.ndarray) -> Head:
    """The head of a graph with these values of its outputs, in order."""
    shape = graph.input_tensors()[0].shape
    height, width = shape[1:3] if shape[-1] == 3 else shape[2:]
    of = {index: np.asarray(value, np.float32) for index, value in zip(graph.outputs, values, strict=True)}
    assert all(of[tensor.index].shape == tensor.shape for tensor in graph.output_tensors())
    return Head(graph, of, width, height)


def assert_planted(result: Decoded, score: float, box: Sequence[float] = BOX, candidates: int | None = 1) -> None:
    """Assert that there is one object, of CLASS at `box`, and this number of candidates (None: unknown)."""
    np.testing.assert_allclose(result.detections.boxes, [box], atol=0.01)
    np.testing.assert_array_equal(result.detections.class_ids, [CLASS])
    np.testing.assert_allclose(result.detections.scores, [score], atol=1e-4)
    assert (None if result.candidates is None else len(result.candidates)) == candidates
