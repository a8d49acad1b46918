"""The plain detector of coloured squares as an ONNX file with the same weights, written without the package onnx."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.squares.network import STRIDES, Network, Weights
from tests.test_onnx_model import field, port

FLOAT, INT64, INT, INTS = 1, 7, 2, 7


class _Graph:
    """The nodes and constants of a graph. Each method adds one and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes, self.constants = b"", b""
        self._count = 0

    def constant(self, values: np.ndarray) -> str:
        name = self._name()
        kind = FLOAT if values.dtype == np.float32 else INT64
        content = b"".join(field(1, side) for side in values.shape) + field(2, kind) + field(8, name)
        self.constants += field(5, content + field(9, values.tobytes()))
        return name

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: int | Sequence[int]) -> str:
        name = output or self._name()
        node = b"".join(field(1, one) for one in inputs) + field(2, name) + field(4, kind)
        for key, value in attributes.items():
            if isinstance(value, int):
                content = field(3, value) + field(20, INT)
            else:
                content = b"".join(field(8, one) for one in value) + field(20, INTS)
            node += field(5, field(1, key) + content)
        self.nodes += field(1, node)
        return name

    def convolution(self, values: str, weights_and_bias: tuple[np.ndarray, np.ndarray | None], stride: int = 1) -> str:
        """Add a convolution. Its weights are in TensorFlow's layout, (height, width, in, out)."""
        weights, bias = weights_and_bias
        inputs = [self.constant(np.ascontiguousarray(weights.transpose(3, 2, 0, 1), np.float32))]
        if bias is not None:
            inputs.append(self.constant(bias.astype(np.float32)))
        return self.add("Conv", values, *inputs, strides=(stride, stride))

    def reshaped(self, values: str, *shape: int) -> str:
        return self.add("Reshape", values, self.constant(np.array(shape, np.int64)))

    def _name(self) -> str:
        self._count += 1
        return f"t{self._count}"


def onnx_squares(network: Network = Network()) -> bytes:
    """An ONNX file that computes the same as `reference`, from [1, 3, 320, 320] in [0, 1] to [1, 7, 2100]."""
    weights, graph = Weights(network), _Graph()
    x = graph.convolution("images", (weights.stem(), None), 2)
    x = graph.add("Relu", graph.convolution(x, weights.colour()))
    boxes, logits, step = [], [], 2
    for stride in STRIDES:
        pool = stride // step
        x = graph.add("AveragePool", x, kernel_shape=(pool, pool), strides=(pool, pool))
        step, side = stride, network.size // stride
        logits.append(graph.reshaped(graph.convolution(x, weights.scores(stride)), 1, 3, side * side))
        sides = graph.add("Relu", graph.convolution(x, weights.sides()))
        boxes.append(_boxes(graph, graph.reshaped(sides, 1, 4, side * side), side, stride / network.size))
    scores = graph.add("Sigmoid", graph.add("Concat", *logits, axis=2))
    graph.add("Concat", graph.add("Concat", *boxes, axis=2), scores, output="output", axis=1)
    cells = sum((network.size // stride) ** 2 for stride in STRIDES)
    ends = field(11, port("images", (1, 3, network.size, network.size))) + field(12, port("output", (1, 7, cells)))
    return field(1, 8) + field(8, field(2, 17)) + field(7, graph.nodes + field(2, "g") + graph.constants + ends)


def _boxes(graph: _Graph, sides: str, cells: int, unit: float) -> str:
    """Convert distances to left, top, right and bottom, in cells, [1, 4, n], to centre and size [1, 4, n]."""
    half = unit / 2
    matrix = np.array([[-half, 0, half, 0], [0, -half, 0, half], [unit, 0, unit, 0], [0, unit, 0, unit]], np.float32)
    rows, columns = np.mgrid[:cells, :cells]
    centres = np.zeros((1, 4, cells * cells), np.float32)
    centres[0, 0], centres[0, 1] = (columns.reshape(-1) + 0.5) * unit, (rows.reshape(-1) + 0.5) * unit
    return graph.add("Add", graph.add("MatMul", graph.constant(matrix), sides), graph.constant(centres))
