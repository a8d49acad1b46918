"""Unfold a file with compressed weights and float activations (float16, weight-only, dynamic range) to float32.

A constant that a DEQUANTIZE reads is replaced by its float32 values, and the DEQUANTIZE is removed. Weights that a
kernel reads as integers become integers times scale. All other operators stay unchanged and in order. float16 and
weight-only files compute the same before and after. The kernels of dynamic-range files also round their input at run
time; the unfolded file does not, so it is slightly more accurate.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError, reason
from qviz.structures import Graph, Scheme
from qviz.tflite.constants import real_constant
from qviz.tflite.edit import packed, unpacked, without_unused
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts, unpacks_constant

FOLDED = frozenset({Scheme.FLOAT16, Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY})
"""Schemes with compressed weights and float activations."""


def unfolded(data: bytes, graph: Graph) -> bytes:
    """The float32 .tflite file. Metadata in the flatbuffer is kept; files appended to the flatbuffer are left out.

    graph: the graph of `data`. Raises ModelError, whose message begins with a verb, if a constant cannot be read as
    real values.
    """
    try:
        model = unpacked(data)
        _unfold(model, data, graph)
        result = packed(without_unused(model))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(f"cannot be dequantized to float32{reason(error)}; give the float32 file.") from error
    scheme = scheme_facts(read_graph(result)).scheme
    if scheme is not Scheme.FLOAT32:
        raise ModelError(f"cannot be dequantized to float32: some operators stay {scheme}; give the float32 file.")
    return result


def _unfold(model: Any, data: bytes, graph: Graph) -> None:
    """Replace compressed constants by their real values and remove their DEQUANTIZE, in place."""
    subgraph = model.subgraphs[0]
    unpacking = {op.order: op for op in graph.ops if unpacks_constant(graph, op)}
    for op in unpacking.values():
        _set_real(model, op.outputs[0], real_constant(data, graph.tensors[op.inputs[0] or 0]))
    subgraph.operators = [op for order, op in enumerate(subgraph.operators) if order not in unpacking]
    read = {int(index) for op in subgraph.operators for index in op.inputs}
    for tensor in graph.tensors:
        compressed = tensor.quantized or tensor.dtype in ("float16", "int4", "int2")
        if tensor.constant and tensor.index in read and compressed:
            _set_real(model, tensor.index, real_constant(data, tensor))
        elif tensor.dtype == "float16":
            subgraph.tensors[tensor.index].type = fb.TensorType.FLOAT32


def _set_real(model: Any, index: int, values: np.ndarray) -> None:
    """Turn a tensor of the main subgraph into a float32 constant with these values."""
    tensor = model.subgraphs[0].tensors[index]
    tensor.type, tensor.quantization, tensor.buffer = fb.TensorType.FLOAT32, None, len(model.buffers)
    raw = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8)
    model.buffers.append(fb.BufferT(data=raw))
