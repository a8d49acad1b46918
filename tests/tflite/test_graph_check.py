"""Invalid graphs are refused when they are read; unusual but valid ones are accepted."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError
from qviz.tflite.schema import read_graph
from tests.tflite.files import code, operator, packed, tensor

OP = fb.BuiltinOperator
INT8 = fb.TensorType.INT8
LAWFUL = [
    packed([tensor("in", [1]), tensor("out", [1])], [operator(0, [0], [1])], [code(OP.RELU)]),
    packed(
        [tensor("in", [1]), tensor("shape", [1], fb.TensorType.INT32), tensor("out", [1])],
        [operator(0, [0, 1], [2])],  # TensorFlow Lite takes the shape from the operator's options
        [code(OP.RESHAPE)],
        outputs=(2,),
    ),
    packed(
        [tensor("in", [2, 0]), tensor("nothing", [0]), tensor("out", [2, 0])],
        [operator(0, [0, 1], [2])],
        [code(OP.CONCATENATION)],
        outputs=(2,),
    ),
    packed([tensor("in", [1]), tensor("out", [1])], [operator(0, [], [1])], [code(OP.CUSTOM, custom="Random")]),
]
WEIGHTS = np.zeros((4, 2), np.int8)


def dense(inputs: list[int], outputs: list[int], scales: list[float], axis: int = 0) -> bytes:
    """A model with FULLY_CONNECTED from 2 to 4 values and int8 weights."""
    weights = tensor("weights", (4, 2), INT8, 1, scales, [0] * len(scales), axis)
    tensors = [tensor("in", (1, 2)), weights, tensor("out", (1, 4))]
    return packed(
        tensors, [operator(0, inputs, outputs)], [code(OP.FULLY_CONNECTED)], outputs=(2,), constants=[WEIGHTS]
    )


def converted(kind: int, output: int) -> bytes:
    """A model with one operator, from float32 to another type."""
    return packed([tensor("in", [1, 4]), tensor("out", [1, 4], output)], [operator(0, [0], [1])], [code(kind)])


REFUSED = [
    (dense([0, 7], [2], [1.0]), "an operator names a tensor that is not among its 3"),
    (dense([0, 1], [], [1.0]), "operator 0 (FULLY_CONNECTED) has no output"),
    (dense([0], [2], [1.0]), "operator 0 (FULLY_CONNECTED) lacks an input"),
    (dense([0, -1], [2], [1.0]), "operator 0 (FULLY_CONNECTED) lacks an input"),
    (dense([0, 2], [2], [1.0]), "operator 0 (FULLY_CONNECTED) reads 'out', which no earlier operator writes"),
    (dense([0, 1], [1], [1.0]), "operator 0 (FULLY_CONNECTED) writes 'weights', which already has a value"),
    (dense([0, 1], [0], [1.0]), "operator 0 (FULLY_CONNECTED) writes 'in', which already has a value"),
    (dense([0, 1], [2], [float("nan")]), "tensor 'weights' has a scale that is not a number"),
    (dense([0, 1], [2], [1.0] * 4, axis=2), "tensor 'weights' is quantized along axis 2 of 2"),
    (dense([0, 1], [2], [1.0] * 4, axis=-1), "tensor 'weights' is quantized along axis -1 of 2"),
    (dense([0, 1], [2], [1.0] * 3), "tensor 'weights' has 3 scales for 4 channels"),
    (
        converted(OP.RESHAPE, fb.TensorType.COMPLEX64),
        "operator 0 (RESHAPE) makes complex64 of float32, which it cannot",
    ),
    (converted(OP.SOFTMAX, fb.TensorType.INT64), "operator 0 (SOFTMAX) makes int64 of float32, which it cannot"),
    (converted(OP.EXPAND_DIMS, INT8), "operator 0 (EXPAND_DIMS) makes int8 of float32, which it cannot"),
    (
        packed([tensor("in", [1]), tensor("out", [1])], [], []),
        "its output 'out' is never written",
    ),
]


@pytest.mark.parametrize("data", LAWFUL)
def test_valid_graphs_are_accepted(data: bytes) -> None:
    assert read_graph(data).ops


def test_valid_weights_are_accepted() -> None:
    assert read_graph(dense([0, 1, -1], [2], [1.0] * 4)).ops[0].inputs == (0, 1, None)


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_invalid_graphs_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ModelError, match=rf"^is damaged: {re.escape(sentence)}\. Copy or export it again\.$"):
        read_graph(data)


def test_operators_out_of_order_are_refused() -> None:
    tensors = [tensor(name, [1]) for name in ("in", "middle", "out")]
    operators = [operator(0, [1], [2]), operator(0, [0], [1])]
    with pytest.raises(ModelError, match=r"operator 0 \(RELU\) reads 'middle'"):
        read_graph(packed(tensors, operators, [code(OP.RELU)], outputs=(2,)))
    assert read_graph(packed(tensors, operators[::-1], [code(OP.RELU)], outputs=(2,))).ops
