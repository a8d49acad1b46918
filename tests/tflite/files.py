"""The smallest .tflite files, made with the flatbuffer object API."""

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
    made = fb.TensorT()
    made.name, made.shape, made.type, made.buffer = name, list(shape), kind, buffer
    if scales:
        made.quantization = fb.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = list(scales), list(zeros)
        made.quantization.quantizedDimension = axis
    return made


def operator(code: int, inputs: Sequence[int], outputs: Sequence[int]) -> fb.OperatorT:
    made = fb.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, list(inputs), list(outputs)
    return made


def code(builtin: int, deprecated: int | None = None, custom: str | None = None) -> fb.OperatorCodeT:
    made = fb.OperatorCodeT()
    made.builtinCode, made.customCode, made.version = builtin, custom, 1
    made.deprecatedBuiltinCode = min(builtin, 127) if deprecated is None else deprecated
    return made


def packed(
    tensors: Sequence[fb.TensorT],
    operators: Sequence[fb.OperatorT],
    codes: Sequence[fb.OperatorCodeT],
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] = (1,),
    constants: Sequence[np.ndarray] = (),
    subgraphs: int = 1,
) -> bytes:
    """Buffer 0 is the empty one, the constants follow."""
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
    """One operator, one input, one output."""
    tensors = [tensor("in", shape), tensor("out", shape)]
    return packed(tensors, [operator(0, [0], [1])], [code(fb.BuiltinOperator.RELU)])
