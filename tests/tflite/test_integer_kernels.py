"""Operators without a rule in litert-quantizer compute on integers, with the same values."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.tflite.edit import packed as packed_model
from qviz.tflite.edit import unpacked
from qviz.tflite.integer_kernels import KERNELS, with_integer_kernels
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from tests.tflite.files import code, operator, packed, tensor

SHAPE = (1, 4, 4, 4)
TYPES = {"int8": fb.TensorType.INT8, "int16": fb.TensorType.INT16}
EXTRA = {
    "PRELU": [np.array([0.1, 0.2, 0.3, -0.4], np.float32).reshape(1, 1, 4)],
    "SPLIT_V": [np.array([1, 3], np.int32), np.array(3, np.int32)],
    "EXPAND_DIMS": [np.array(0, np.int32)],
    "SPACE_TO_BATCH_ND": [np.array([2, 2], np.int32), np.zeros((2, 2), np.int32)],
    "BATCH_TO_SPACE_ND": [np.array([1, 1], np.int32), np.zeros((2, 2), np.int32)],
    "TILE": [np.array([1, 2, 1, 1], np.int32)],
    "REVERSE_V2": [np.array([1], np.int32)],
    "REDUCE_MAX": [np.array([1], np.int32)],
    "TOPK_V2": [np.array(2, np.int32)],
}
"""Kind -> the constants that it reads besides its input."""
OUTPUTS = {
    "SPLIT_V": [(1, 4, 4, 1), (1, 4, 4, 3)],
    "SQUEEZE": [(4, 4, 4)],
    "EXPAND_DIMS": [(1, *SHAPE)],
    "DEPTH_TO_SPACE": [(1, 8, 8, 1)],
    "SPACE_TO_BATCH_ND": [(4, 2, 2, 4)],
    "TILE": [(1, 8, 4, 4)],
    "REDUCE_MAX": [(1, 4, 4)],
    "TOPK_V2": [(1, 4, 4, 2)],
}
OPTIONS = {
    "LEAKY_RELU": (fb.BuiltinOptions.LeakyReluOptions, fb.LeakyReluOptionsT(alpha=0.1)),
    "SPLIT_V": (fb.BuiltinOptions.SplitVOptions, fb.SplitVOptionsT(numSplits=2)),
    "SQUEEZE": (fb.BuiltinOptions.SqueezeOptions, fb.SqueezeOptionsT(squeezeDims=[0])),
    "DEPTH_TO_SPACE": (fb.BuiltinOptions.DepthToSpaceOptions, fb.DepthToSpaceOptionsT(blockSize=2)),
}


def between_conversions(kind: str, dtype: str, quantized: bool = True) -> bytes:
    """A file in which DEQUANTIZE feeds an operator, whose results QUANTIZE receives (or the network's outputs are)."""
    shapes = OUTPUTS.get(kind, [SHAPE])
    constants = EXTRA.get(kind, [])
    zero = -20 if dtype == "int8" else 0
    steps = (0.05, 0.04) if dtype == "int8" else (0.0002, 0.00015)
    tensors = [tensor("in", SHAPE, TYPES[dtype], scales=[steps[0]], zeros=[zero]), tensor("real", SHAPE)]
    for number, values in enumerate(constants, 1):
        kinds = {"float32": fb.TensorType.FLOAT32, "int32": fb.TensorType.INT32}
        tensors.append(tensor(f"constant{number}", values.shape, kinds[str(values.dtype)], number))
    first = len(tensors)
    tensors += [tensor(f"result{number}", shape) for number, shape in enumerate(shapes)]
    last = len(tensors)
    tensors += [tensor(f"out{n}", shape, TYPES[dtype], 0, [steps[1]], [zero]) for n, shape in enumerate(shapes)]
    indices = [len(tensors)] if kind == "TOPK_V2" else []
    tensors += [tensor("indices", shapes[0], fb.TensorType.INT32)] * len(indices)
    middle = operator(1, [1, *range(2, 2 + len(constants))], [*range(first, last), *indices])
    if kind in OPTIONS:
        middle.builtinOptionsType, middle.builtinOptions = OPTIONS[kind]
    ops = [operator(0, [0], [1]), middle]
    codes = [code(fb.BuiltinOperator.DEQUANTIZE), code(getattr(fb.BuiltinOperator, kind))]
    if quantized:
        ops += [operator(2, [first + number], [last + number]) for number in range(len(shapes))]
        codes.append(code(fb.BuiltinOperator.QUANTIZE))
    outputs = range(last, last + len(shapes)) if quantized else range(first, last)
    codes[0].version, codes[-1].version = 2, 2 if quantized else 1
    return packed(tensors, ops, codes, outputs=[*outputs, *indices], constants=constants)


def values_of(dtype: str) -> np.ndarray:
    ends = np.iinfo(dtype)
    return np.random.default_rng(0).integers(ends.min, ends.max, SHAPE, dtype, endpoint=True)


CASES = [(kind, dtype) for kind, kernel in KERNELS.items() for dtype in ("int8", *(["int16"] if kernel.wide else []))]


@pytest.mark.parametrize("kernels", ["default", "builtin", "reference"])
@pytest.mark.parametrize(("kind", "dtype"), CASES)
def test_every_kind_computes_on_integers_with_the_same_values(kind: str, dtype: str, kernels: str) -> None:
    """Two steps at most: the output is rounded once more where it has the scale of the input, slopes have 8 bits."""
    data = between_conversions(kind, dtype)
    mended = with_integer_kernels(data, (), {})
    graph = read_graph(mended)
    assert not any(row.dtype == "float32" for row in graph.tensors)
    behind = ["QUANTIZE"] * len(OUTPUTS.get(kind, [SHAPE])) if KERNELS[kind].keeps_scale else []
    assert [op.kind for op in graph.ops] == [kind, *behind]
    values = values_of(dtype)
    before = Runner(data, keep_all=False, kernels=kernels).run([values])
    after = Runner(mended, keep_all=False, kernels=kernels).run([values])
    for expected, output in zip(before, after, strict=True):
        assert (output.dtype, output.shape) == (expected.dtype, expected.shape)
        assert np.abs(output.astype(int) - expected.astype(int)).max() <= 2


@pytest.mark.parametrize("kind", ["LEAKY_RELU", "SPLIT_V", "PRELU"])
def test_a_float_output_stays_float(kind: str) -> None:
    """The scale follows from the calibrated range, as no QUANTIZE has it."""
    data = between_conversions(kind, "int8", quantized=False)
    names = [row.name for row in read_graph(data).output_tensors()]
    graph = read_graph(mended := with_integer_kernels(data, (), dict.fromkeys(names, (-5.0, 8.0))))
    assert [op.kind for op in graph.ops] == [kind, *["DEQUANTIZE"] * len(names)]
    assert {row.dtype for row in graph.output_tensors()} == {"float32"}
    ends = (-np.inf, np.inf) if KERNELS[kind].keeps_scale else (-5, 8)
    values = values_of("int8")
    for expected, output in zip(Runner(data).run([values]), Runner(mended).run([values]), strict=True):
        assert np.abs(np.clip(expected, *ends) - output).max() <= 2 * 13 / 255


@pytest.mark.parametrize(
    ("kind", "dtype", "quantized", "in_float"),
    [
        ("LEAKY_RELU", "int8", True, ["result0"]),
        ("LEAKY_RELU", "int8", False, []),
        ("RELU6", "int16", True, []),
        ("ELU", "int8", True, []),
    ],
    ids=["requested", "no range is known", "no kernel for 16 bits", "no integer kernel"],
)
def test_what_stays_in_float_is_the_same_file(kind: str, dtype: str, quantized: bool, in_float: list[str]) -> None:
    data = between_conversions(kind, dtype, quantized)
    assert with_integer_kernels(data, in_float, {}) is data


def test_a_float_reader_gets_the_value_back() -> None:
    """Another operator that stays float reads the same result."""
    model = unpacked(between_conversions("LEAKY_RELU", "int8"))
    subgraph = model.subgraphs[0]
    subgraph.tensors.append(tensor("cosine", SHAPE))
    model.operatorCodes.append(code(fb.BuiltinOperator.COS))
    subgraph.operators.append(operator(len(model.operatorCodes) - 1, [2], [len(subgraph.tensors) - 1]))
    subgraph.outputs = [*subgraph.outputs, len(subgraph.tensors) - 1]
    data = packed_model(model)
    mended = with_integer_kernels(data, (), {})
    assert [op.kind for op in read_graph(mended).ops] == ["LEAKY_RELU", "DEQUANTIZE", "COS"]
    values = values_of("int8") // 2
    before, after = Runner(data).run([values]), Runner(mended).run([values])
    assert np.abs(before[1] - after[1]).max() <= 0.05


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_a_convolution_behind_moved_values_reads_them_with_their_first_scale(dtype: str) -> None:
    """No QUANTIZE rounds them again: the bias is scaled for the other steps."""
    model = unpacked(between_conversions("SPLIT_V", dtype))
    subgraph = model.subgraphs[0]
    last = len(subgraph.tensors) - 1
    step = float(subgraph.tensors[last].quantization.scale[0])
    weights = np.array([[90, -40, 20], [-7, 50, 127]], np.int8).reshape(2, 1, 1, 3)
    bias = np.array([300, -2000], np.int32 if dtype == "int8" else np.int64)
    for values in (weights, bias):
        model.buffers.append(fb.BufferT(data=np.frombuffer(values.tobytes(), np.uint8)))
    kinds = {"int8": fb.TensorType.INT32, "int16": fb.TensorType.INT64}
    buffers = len(model.buffers)
    subgraph.tensors += [
        tensor("weights", weights.shape, fb.TensorType.INT8, buffers - 2, [0.01, 0.02], [0, 0]),
        tensor("bias", (2,), kinds[dtype], buffers - 1, [0.01 * step, 0.02 * step], [0, 0]),
        tensor("result", (1, 4, 4, 2), TYPES[dtype], 0, [step * 3], [0]),
    ]
    convolution = operator(len(model.operatorCodes), [last, last + 1, last + 2], [last + 3])
    convolution.builtinOptionsType = fb.BuiltinOptions.Conv2DOptions
    convolution.builtinOptions = fb.Conv2DOptionsT(padding=fb.Padding.VALID, strideW=1, strideH=1)
    model.operatorCodes.append(code(fb.BuiltinOperator.CONV_2D))
    model.operatorCodes[-1].version = 3
    subgraph.operators.append(convolution)
    subgraph.outputs = [last + 3]
    mended = with_integer_kernels(data := packed_model(model), (), {})
    assert [op.kind for op in read_graph(mended).ops] == ["SPLIT_V", "CONV_2D"]
    values = values_of(dtype) // 4
    (expected,), (output,) = Runner(data).run([values]), Runner(mended).run([values])
    assert np.ptp(expected) > 50 and np.abs(output.astype(int) - expected.astype(int)).max() <= 2
