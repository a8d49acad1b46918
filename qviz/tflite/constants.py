"""Constants and options of the operators of a .tflite file: weights as real numbers, biases, strides, padding.

Weights: an operator's weights are its largest constant with real values: float32, float16, or integers with scales
(int8, uint8, int16, and int4 and int2 packed with the first element in the lowest bits). A constant that is read
through a DEQUANTIZE, as in float16 and weight-only files, belongs to the operator that reads the result. Biases, sparse
constants and block-wise scales are left out.

Changed constants: `with_constants` writes float32 values of the same length over the old ones, so operators, names,
metadata and files appended to the flatbuffer (labels) do not change by a byte.

Options: their names are those of the schema, spelled as in ai-edge-litert's object API (strideH, keepDims). Values of
enumerations are numbers, except those of the padding and the fused activation, which are the schema's names.

The bytes are untrusted: a constant that is shorter than its shape raises a `ModelError`. Source of the format:
tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError, reason
from qviz.structures import Graph, Op, Tensor
from qviz.structures.graph import BIAS_INPUT

_FLOATS = frozenset({"float32", "float16"})
_PACKED_BITS = {"int4": 4, "int2": 2}


def operator_weights(data: bytes, graph: Graph) -> dict[int, np.ndarray]:
    """Operator -> float32 weights in their shape in the file, for operators that have any. Raises ModelError."""
    weights: dict[int, np.ndarray] = {}
    try:
        model = fb.Model.GetRootAs(data)
        for order, tensor in weight_tensors(graph).items():
            if (values := _real_values(data, model, tensor)) is not None:
                weights[order] = values
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"is damaged: its weights cannot be read{reason(error)}. Copy or export it again.") from error
    return weights


def weight_tensors(graph: Graph) -> dict[int, Tensor]:
    """Operator -> the constant that stores its weights."""
    unpacked = _behind_dequantize(graph)
    tensors = {op.order: _largest(graph, op, unpacked) for op in graph.ops if op.kind != "DEQUANTIZE"}
    return {order: tensor for order, tensor in tensors.items() if tensor is not None}


def stored_constant(data: bytes, tensor: Tensor) -> np.ndarray:
    """The value of a constant, in its shape and the type that the file stores. Raises ModelError if it is damaged."""
    try:
        model = fb.Model.GetRootAs(data)
        return _stored_values(_bytes(data, model.Buffers(model.Subgraphs(0).Tensors(tensor.index).Buffer())), tensor)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"is damaged: {tensor.name!r} cannot be read{reason(error)}. Copy or export it again."
        ) from error


def real_constant(data: bytes, tensor: Tensor) -> np.ndarray:
    """The real values of a constant, as float32 in its shape. It may be stored as float, or as integers with scales.

    Raises ModelError if it is damaged, sparse, or has integers whose scales are stored elsewhere (blockwise).
    """
    try:
        values = _real_values(data, fb.Model.GetRootAs(data), tensor)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"is damaged: {tensor.name!r} cannot be read{reason(error)}. Copy or export it again."
        ) from error
    if values is None or not (tensor.dtype in _FLOATS or tensor.quantized):
        raise ModelError(f"stores {tensor.name!r} sparsely or in blocks, which qviz cannot read as real values.")
    return values


_BIAS_ENDS = (-(2**63), -(2**31), 2**31 - 1, 2**63 - 1)


def saturated_biases(data: bytes, graph: Graph) -> dict[int, int]:
    """Operator -> number of channels whose bias was cut off at the smallest or largest value of its integer type.

    An int64 bias at the limits of int32 counts as cut off, too. Raises ModelError for a damaged file.
    """
    saturated = {}
    for op in graph.ops:
        at = BIAS_INPUT.get(op.kind, 0)
        index = op.inputs[at] if 0 < at < len(op.inputs) else None
        if index is None or not (bias := graph.tensors[index]).constant or bias.dtype not in ("int32", "int64"):
            continue
        if count := int(np.isin(stored_constant(data, bias), _BIAS_ENDS).sum()):
            saturated[op.order] = count
    return saturated


def _behind_dequantize(graph: Graph) -> dict[int, int]:
    """Output of a DEQUANTIZE that reads a constant -> that constant."""
    return {
        op.outputs[0]: op.inputs[0]
        for op in graph.ops
        if op.kind == "DEQUANTIZE" and op.outputs and op.inputs and op.inputs[0] is not None
        if graph.tensors[op.inputs[0]].constant
    }


def _largest(graph: Graph, op: Op, unpacked: dict[int, int]) -> Tensor | None:
    read = (graph.tensors[unpacked.get(index, index)] for index in op.inputs if index is not None)
    real = [tensor for tensor in read if tensor.constant and (tensor.dtype in _FLOATS or tensor.quantized)]
    return max(real, key=lambda tensor: math.prod(tensor.shape), default=None)


def _real_values(data: bytes, model: Any, tensor: Tensor) -> np.ndarray | None:
    stored = model.Subgraphs(0).Tensors(tensor.index)
    if stored.Sparsity() is not None:
        return None
    values = _stored_values(_bytes(data, model.Buffers(stored.Buffer())), tensor)
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.dequantize(values)
    return values.astype(np.float32)


def _bytes(data: bytes, buffer: Any) -> np.ndarray:
    if buffer.DataLength():
        return np.asarray(buffer.DataAsNumpy(), np.uint8)
    return np.frombuffer(data, np.uint8)[buffer.Offset() : buffer.Offset() + buffer.Size()]


def _stored_values(raw: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The values in the shape of the tensor, int4 and int2 unpacked to int8. Raises ValueError for too few bytes."""
    count = math.prod(tensor.shape)
    bits = _PACKED_BITS.get(tensor.dtype)
    values = _unpack(raw, bits) if bits else raw[: count * np.dtype(tensor.dtype).itemsize].view(tensor.dtype)
    if len(values) < count:
        raise ValueError(f"{tensor.name!r} has {len(raw)} bytes, too few for {tensor.dtype} {list(tensor.shape)}")
    return values[:count].reshape(tensor.shape)


def _unpack(raw: np.ndarray, bits: int) -> np.ndarray:
    """int8 values from two's complement fields of `bits` bits, the first element in the lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    fields = (raw[:, None] >> shifts).reshape(-1) & (2**bits - 1)  # [bytes * 8 / bits]
    sign = 1 << (bits - 1)
    return ((fields.astype(np.int8) ^ sign) - sign).astype(np.int8)


def own_constants(data: bytes, graph: Graph) -> frozenset[int]:
    """Indices of the float32 constants that share their data with no other tensor, so that they can be changed."""
    model = fb.Model.GetRootAs(data)
    subgraphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    uses = Counter(part.Tensors(i).Buffer() for part in subgraphs for i in range(part.TensorsLength()))
    floats = (tensor.index for tensor in graph.tensors if tensor.constant and tensor.dtype == "float32")
    return frozenset(index for index in floats if uses[_buffer(model, index)] == 1)


def with_constants(data: bytes, values: Mapping[int, np.ndarray]) -> bytes:
    """The file with other values for float32 constants.

    Args:
        values: Tensor index -> new values in the tensor's shape.

    Raises:
        ValueError: New values have another size than the constant.
    """
    model = fb.Model.GetRootAs(data)
    result = bytearray(data)
    for index, array in values.items():
        start, length = _location(data, model.Buffers(_buffer(model, index)))
        raw = np.ascontiguousarray(array, np.float32).tobytes()
        if len(raw) != length:
            raise ValueError(f"tensor {index} holds {length} bytes, and {len(raw)} were given")
        result[start : start + length] = raw
    return bytes(result)


def _buffer(model: Any, tensor: int) -> int:
    return int(model.Subgraphs(0).Tensors(tensor).Buffer())


def _location(data: bytes, buffer: Any) -> tuple[int, int]:
    """(start, length) in bytes of a buffer's data in the file."""
    if not buffer.DataLength():
        return int(buffer.Offset()), int(buffer.Size())
    view = buffer.DataAsNumpy()
    start = view.__array_interface__["data"][0] - np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    return int(start), len(view)


_PADDINGS = {code: name for name, code in vars(fb.Padding).items() if isinstance(code, int)}
_ACTIVATIONS = {code: name for name, code in vars(fb.ActivationFunctionType).items() if isinstance(code, int)}


def operator_options(data: bytes) -> tuple[dict[str, Any], ...]:
    """One dictionary per operator of the main subgraph: option -> value, empty without options. Raises ModelError."""
    try:
        subgraph = fb.Model.GetRootAs(data).Subgraphs(0)
        return tuple(_options(subgraph.Operators(i)) for i in range(subgraph.OperatorsLength()))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"is damaged: an operator's options cannot be read{reason(error)}. Export it again."
        ) from error


def _options(op: Any) -> dict[str, Any]:
    creator = fb.BuiltinOptionsCreator(op.BuiltinOptionsType(), op.BuiltinOptions())
    options = dict(vars(creator)) if creator is not None else {}
    if "padding" in options:
        options["padding"] = _PADDINGS[options["padding"]]
    if "fusedActivationFunction" in options:
        options["fusedActivationFunction"] = _ACTIVATIONS[options["fusedActivationFunction"]]
    return options
