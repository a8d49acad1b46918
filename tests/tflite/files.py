"""Minimal .tflite files, made with the flatbuffer object API."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as fb


def tensor(
    name: str,
    shape: Sequence[int],
    kind: int = fb.TensorType.FLOAT32,
    buffer: int = 0,
    scales: Sequence[float] = (),
    zeros: Sequence[int] = (),
    axis: int = 0,
) -> fb.TensorT:
    result = fb.TensorT()
    result.name, result.shape, result.type, result.buffer = name, list(shape), kind, buffer
    if scales:
        result.quantization = fb.QuantizationParametersT()
        result.quantization.scale, result.quantization.zeroPoint = list(scales), list(zeros)
        result.quantization.quantizedDimension = axis
    return result


def operator(code: int, inputs: Sequence[int], outputs: Sequence[int]) -> fb.OperatorT:
    result = fb.OperatorT()
    result.opcodeIndex, result.inputs, result.outputs = code, list(inputs), list(outputs)
    return result


def code(builtin: int, deprecated: int | None = None, custom: str | None = None) -> fb.OperatorCodeT:
    result = fb.OperatorCodeT()
    result.builtinCode, result.customCode, result.version = builtin, custom, 1
    result.deprecatedBuiltinCode = min(builtin, 127) if deprecated is None else deprecated
    return result


def packed(
    tensors: Sequence[fb.TensorT],
    operators: Sequence[fb.OperatorT],
    codes: Sequence[fb.OperatorCodeT],
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] = (1,),
    constants: Sequence[np.ndarray] = (),
    subgraphs: int = 1,
) -> bytes:
    """A .tflite file. Buffer 0 is empty; the buffers after it hold the constants."""
    model, graph = fb.ModelT(), fb.SubGraphT()
    graph.tensors, graph.operators = list(tensors), list(operators)
    graph.inputs, graph.outputs = list(inputs), list(outputs)
    model.version, model.operatorCodes, model.subgraphs = 3, list(codes), [graph] * subgraphs
    model.buffers = [fb.BufferT() for _ in range(len(constants) + 1)]
    for buffer, values in zip(model.buffers[1:], constants, strict=True):
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def relu(shape: Sequence[int] = (1, 4)) -> bytes:
    """A .tflite file with one RELU."""
    tensors = [tensor("in", shape), tensor("out", shape)]
    return packed(tensors, [operator(0, [0], [1])], [code(fb.BuiltinOperator.RELU)])
