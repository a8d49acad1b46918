"""Minimal graphs and heads for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qviz.decoders import Head
from qviz.structures import Graph, Op, Quantization, Tensor

WIDTH, HEIGHT = 200, 100
"""Size of the graphs' input images; not square, so that a confusion of x and y is noticed."""


def per_tensor(scale: float, zero_point: int) -> Quantization:
    return Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def tensor(
    index: int,
    name: str = "",
    shape: tuple[int, ...] = (1, 8),
    dtype: str = "float32",
    quantization: Quantization | None = None,
    constant: bool = False,
) -> Tensor:
    return Tensor(index, name or f"t{index}", shape, dtype, quantization, constant, 64 if constant else 0)


def image_tensor(index: int = 0, **kinds: object) -> Tensor:
    return tensor(index, "image", (1, HEIGHT, WIDTH, 3), **kinds)  # type: ignore[arg-type]


def graph(
    tensors: Sequence[Tensor],
    outputs: Sequence[int],
    ops: Sequence[Op] = (),
    signature: Mapping[str, int] | None = None,
) -> Graph:
    """A graph. Tensor 0 is the input; the order of an operator is its index in `ops`."""
    assert [t.index for t in tensors] == list(range(len(tensors)))
    ordered = tuple(Op(i, op.kind, op.inputs, op.outputs, op.custom, op.options) for i, op in enumerate(ops))
    return Graph(tuple(tensors), ordered, (0,), tuple(outputs), signature=dict(signature or {}))


def op(kind: str, inputs: Sequence[int | None], outputs: Sequence[int], **options: object) -> Op:
    return Op(0, kind, tuple(inputs), tuple(outputs), kind.startswith("TFLite_"), options)


def head(of: Graph, values: Mapping[int, np.ndarray]) -> Head:
    return Head(of, {index: np.asarray(value, np.float32) for index, value in values.items()}, WIDTH, HEIGHT)
