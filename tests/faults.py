"""Plant faults in a .tflite file with the flatbuffer object API, so that the file has exactly one known error.

The result is a valid file with the same graph. `order` is an operator's index, as in `qviz layers`.
"""

from __future__ import annotations

from collections.abc import Callable

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as fb

CONVOLUTIONS = {fb.BuiltinOperator.CONV_2D, fb.BuiltinOperator.DEPTHWISE_CONV_2D}

Edit = Callable[[fb.ModelT, fb.SubGraphT], None]


def planted(data: bytes, edit: Edit) -> bytes:
    """The model file with one edit applied."""
    model = fb.ModelT.InitFromObj(fb.Model.GetRootAs(data))
    edit(model, model.subgraphs[0])
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def output_scale_shrunk(order: int, times: float = 4.0) -> Edit:
    """Make the range of an operator's output too small, so that values are clipped.

    The biases of the operators that read the output are converted to the new scale.
    """

    def edit(model: fb.ModelT, graph: fb.SubGraphT) -> None:
        index = int(graph.operators[order].outputs[0])
        parameters = graph.tensors[index].quantization
        parameters.scale = np.asarray(parameters.scale) / np.float32(times)
        for op in graph.operators:
            if _convolution(model, op) and int(op.inputs[0]) == index:
                bias = graph.tensors[op.inputs[2]]
                bias.quantization.scale = np.asarray(bias.quantization.scale) / np.float32(times)
                _write(model, bias, np.rint(_read(model, bias, np.int32) * times).astype(np.int32))

    return edit


def weights_rounded(order: int, bits: int = 3) -> Edit:
    """Round the weights of an operator to this number of bits."""

    def edit(model: fb.ModelT, graph: fb.SubGraphT) -> None:
        weights = graph.tensors[graph.operators[order].inputs[1]]
        step = 1 << (8 - bits)
        coarse = np.rint(_read(model, weights, np.int8) / step) * step
        _write(model, weights, np.clip(coarse, -127, 127).astype(np.int8))

    return edit


def bias_overflown(order: int, bits: int) -> Edit:
    """Let the bias of an operator overflow an integer of this number of bits, so that it wraps around."""

    def edit(model: fb.ModelT, graph: fb.SubGraphT) -> None:
        bias = graph.tensors[graph.operators[order].inputs[2]]
        half = 1 << (bits - 1)
        wrapped = (_read(model, bias, np.int32).astype(np.int64) + half) % (2 * half) - half
        _write(model, bias, wrapped.astype(np.int32))

    return edit


def zero_weights_given_a_tiny_scale(outputs: int) -> Edit:
    """Give zero weights a scale of 1e-11 in convolutions with this number of outputs, so that their biases saturate.

    A converter writes such files if it derives the scale of weights from their largest value alone. A bias is stored in
    steps of input scale x weight scale, so that the largest int32 then stands for a value near 0.
    """

    def edit(model: fb.ModelT, graph: fb.SubGraphT) -> None:
        for op in graph.operators:
            weights = graph.tensors[op.inputs[1]] if _convolution(model, op) else None
            if weights is None or weights.shape[0] != outputs or _read(model, weights, np.int8).any():
                continue
            bias = graph.tensors[op.inputs[2]]
            dtype = np.int64 if bias.type == fb.TensorType.INT64 else np.int32
            real = _read(model, bias, dtype) * np.asarray(bias.quantization.scale, np.float64)
            weights.quantization.scale = np.full(outputs, 1e-11, np.float32)
            step = float(graph.tensors[op.inputs[0]].quantization.scale[0]) * 1e-11
            bias.quantization.scale = np.full(outputs, step, np.float32)
            limits = np.iinfo(np.int32)
            _write(model, bias, np.rint(real / step).clip(limits.min, limits.max).astype(dtype))

    return edit


def input_zero_point_shifted(by: int) -> Edit:
    """Shift the range of the network's input by this number of steps, so that one end of it is clipped."""

    def edit(model: fb.ModelT, graph: fb.SubGraphT) -> None:
        parameters = graph.tensors[graph.operators[0].outputs[0]].quantization
        parameters.zeroPoint = np.asarray(parameters.zeroPoint) + by

    return edit


def _convolution(model: fb.ModelT, op: fb.OperatorT) -> bool:
    code = model.operatorCodes[op.opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode) in CONVOLUTIONS


def _read(model: fb.ModelT, tensor: fb.TensorT, dtype: type) -> np.ndarray:
    return np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(dtype)


def _write(model: fb.ModelT, tensor: fb.TensorT, values: np.ndarray) -> None:
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
