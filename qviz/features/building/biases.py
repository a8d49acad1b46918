"""Raise the scales of weights where a bias would not fit its integer type.

A bias is stored in steps of input scale x weight scale. litert-quantizer derives the weight scale from a channel's
largest weight alone, so the bias of a channel whose weights are (nearly) zero exceeds int32 and is cut off.
TensorFlow's converter raises the scale of such weights (`AdjustBiasScale` in
tensorflow/compiler/mlir/lite/quantization), and so does this module. The weights of these channels are then smaller
than one step, which costs no accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from qviz.structures import Graph, Op, Tensor
from qviz.structures.graph import BIAS_INPUT
from qviz.tflite.constants import saturated_biases, stored_constant
from qviz.tflite.edit import packed, set_constant, unpacked
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import CONVERSIONS

LARGEST_BIAS = 2.0**30
"""Largest bias, in steps, after scales are raised: half of int32's maximum, to leave room for the sum of products."""


def with_fitting_biases(data: bytes, float_data: bytes, float_graph: Graph) -> bytes:
    """The built file with scales raised so that no bias is cut off; the same bytes if none was cut off.

    Args:
        data: A file that litert-quantizer built from `float_data`; its operators have the same order.
        float_graph: The graph of `float_data`.
    """
    graph = read_graph(data)
    saturated = saturated_biases(data, graph)
    affected = {order: op for order, op in partners(graph, float_graph) if order in saturated}
    if not affected:
        return data
    model = unpacked(data)
    for order, float_op in affected.items():
        float_parts = _weights_and_bias(float_graph, float_op)
        if all(tensor.constant and tensor.dtype == "float32" for tensor in float_parts):
            weights, bias = (stored_constant(float_data, tensor).astype(np.float64) for tensor in float_parts)
            _raise_scales(model, graph, graph.ops[order], weights, bias)
    return packed(model)


def partners(graph: Graph, float_graph: Graph) -> Iterator[tuple[int, Op]]:
    """(order of an operator, the same operator in the float file) for all operators except conversions.

    Empty if the operators of the two files differ otherwise than in conversions.
    """
    ops, float_ops = ([op for op in g.ops if op.kind not in CONVERSIONS] for g in (graph, float_graph))
    if [op.kind for op in ops] == [op.kind for op in float_ops]:
        yield from ((op.order, float_op) for op, float_op in zip(ops, float_ops, strict=True))


def _weights_and_bias(graph: Graph, op: Op) -> list[Tensor]:
    return [graph.tensors[index] for at in (1, BIAS_INPUT[op.kind]) if (index := op.inputs[at]) is not None]


def _raise_scales(model: Any, graph: Graph, op: Op, real_weights: np.ndarray, real_bias: np.ndarray) -> None:
    """Quantize the weights and the bias of one operator again, with the smallest scales that fit both.

    Args:
        real_weights, real_bias: The values in the float file.
    """
    weights, bias = _weights_and_bias(graph, op)
    entry = op.inputs[2 if op.kind == "TRANSPOSE_CONV" else 0]
    quantization, weight_quantization = graph.tensors[entry or 0].quantization, weights.quantization
    if quantization is None or weight_quantization is None or weights.dtype != "int8":
        return
    step = float(quantization.scales[0])
    needed = np.abs(real_bias) / (step * LARGEST_BIAS)  # per output channel
    scales = weight_quantization.scales.astype(np.float64)
    scales = np.maximum(scales, needed if len(scales) == len(needed) else needed.max()).astype(np.float32)
    shape = [1] * real_weights.ndim
    if weight_quantization.per_channel and weight_quantization.axis is not None:
        shape[weight_quantization.axis] = -1
    integers = np.clip(np.rint(real_weights / scales.reshape(shape)), -127, 127)
    set_constant(model, weights.index, integers.astype(np.int8), scales)
    bias_scales = (scales.astype(np.float64) * step).astype(np.float32)
    set_constant(model, bias.index, np.rint(real_bias / bias_scales).astype(bias.dtype), bias_scales)
