"""Weights of 4 and 2 bits, with scales per channel and per block, are run, or refused where kernels compute zeros."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.detector import inspect
from qviz.errors import ModelError
from qviz.structures import Scheme, Settings
from qviz.tflite.runner import Runner
from tests.tflite.files import code, operator, packed, tensor

INPUTS, ROWS, COLUMNS = 32, 20, 6
BOX = (0.3, 0.2, 0.6, 0.5, 0.8, 0.0)
TYPES = {8: fb.TensorType.INT8, 4: fb.TensorType.INT4, 2: fb.TensorType.INT2}
SCALES = {8: 0.01, 4: 0.01, 2: 0.05}


def weights(bits: int) -> np.ndarray:
    """(120, 32) integers whose sums over the inputs are the rows of one box in units of the scale."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    values = np.zeros((ROWS * COLUMNS, INPUTS), np.int8)
    for output, value in enumerate(BOX):
        left = round(value / SCALES[bits])
        for index in range(INPUTS):
            values[output, index] = min(max(left, low), high)
            left -= int(values[output, index])
        assert left == 0
    return values


def low_bits(bits: int, blockwise: bool) -> bytes:
    """[1, 20, 6] with one object: RELU of ones, FULLY_CONNECTED with these weights, RESHAPE."""
    values = weights(bits).reshape(-1, max(8 // bits, 1)).astype(np.uint8) & ((1 << bits) - 1)
    stored = np.bitwise_or.reduce(values << (bits * np.arange(values.shape[1], dtype=np.uint8)), axis=1)
    per_channel = () if blockwise else (SCALES[bits],) * (ROWS * COLUMNS)
    matrix = tensor("weights", (ROWS * COLUMNS, INPUTS), TYPES[bits], 2, per_channel, (0,) * len(per_channel))
    tensors = [
        *(tensor("image", (1, 64, 96, 3)), tensor("ones", (1, INPUTS), buffer=1), tensor("x", (1, INPUTS)), matrix),
        *(tensor("y", (1, ROWS * COLUMNS)), tensor("shape", (3,), fb.TensorType.INT32, 3)),
        *(tensor("rows", (1, ROWS, COLUMNS)), tensor("scales", (ROWS * COLUMNS, 1), fb.TensorType.FLOAT16, 4)),
    ]
    if blockwise:
        matrix.quantization = fb.QuantizationParametersT()
        matrix.quantization.detailsType = fb.QuantizationDetails.BlockwiseQuantization
        matrix.quantization.details = fb.BlockwiseQuantizationT()
        matrix.quantization.details.scales, matrix.quantization.details.zeroPoints = 7, -1
        matrix.quantization.details.blockSize = INPUTS
    connected = operator(1, [2, 3, -1], [4])
    connected.builtinOptionsType = fb.BuiltinOptions.FullyConnectedOptions
    connected.builtinOptions = fb.FullyConnectedOptionsT()
    kinds = fb.BuiltinOperator
    return packed(
        tensors,
        [operator(0, [1], [2]), connected, operator(2, [4, 5], [6])],
        [code(kind) for kind in (kinds.RELU, kinds.FULLY_CONNECTED, kinds.RESHAPE)],
        outputs=(6,),
        constants=[
            np.ones((1, INPUTS), np.float32),
            stored,
            np.int32([1, ROWS, COLUMNS]),
            np.full((ROWS * COLUMNS, 1), SCALES[bits], np.float16),
        ],
    )


IMAGE = np.zeros((1, 64, 96, 3), np.float32)
RUN = [
    *((bits, False, kernels) for bits in (8, 4, 2) for kernels in ("default", "builtin", "reference")),
    *((4, True, kernels) for kernels in ("default", "builtin")),
]


@pytest.mark.parametrize(("bits", "blockwise", "kernels"), RUN)
def test_the_box_is_there(bits: int, blockwise: bool, kernels: str) -> None:
    data = low_bits(bits, blockwise)
    facts = inspect(data, Settings(), Settings()).facts
    assert (facts.scheme, facts.weight_bits) == (Scheme.DYNAMIC_RANGE, bits)
    (rows,) = Runner(data, kernels=kernels).run([IMAGE])
    np.testing.assert_allclose(rows[0, 0], BOX, atol=1e-3)


@pytest.mark.parametrize(("bits", "kernels"), [(4, "reference"), (2, "default"), (2, "builtin"), (2, "reference")])
def test_kernels_that_compute_zeros_are_refused(bits: int, kernels: str) -> None:
    """The runtime says nothing, and the file would seem to have lost every object."""
    sentence = f"has int{bits} weights with blockwise scales, for which these kernels of TensorFlow Lite compute zeros"
    with pytest.raises(ModelError, match=sentence):
        Runner(low_bits(bits, True), kernels=kernels)
