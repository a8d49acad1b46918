"""What has to hold of a graph before anything else reads it, so that no reader has to ask again.

TensorFlow Lite runs operators in the order of the file and trusts it: one that reads what nobody has written yet reads
what lies in memory, and gives other numbers each time. Such files are refused, not run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Graph, Op, Tensor

NOTHING_OUT = frozenset({"ASSIGN_VARIABLE", "HASHTABLE_IMPORT", "CALL_ONCE"})
NOTHING_IN = frozenset({"VAR_HANDLE", "HASHTABLE", "CALL_ONCE"})
CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL", "STABLEHLO_CASE", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE"})
"""These take and give what their subgraphs do."""
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL"})
"""The input is followed by weights."""


def check_graph(graph: Graph, variables: Collection[int]) -> None:
    """Raises ModelError. variables: tensors that keep their value from run to run."""
    for complaint in _complaints(graph, variables):
        raise ModelError(f"is damaged: {complaint}. Copy or export it again.")


def _complaints(graph: Graph, variables: Collection[int]) -> Iterator[str]:
    count = len(graph.tensors)
    ends = [*graph.inputs, *graph.outputs]
    if any(not 0 <= index < count for index in (*ends, *(i for op in graph.ops for i in _named(op)))):
        yield f"an operator names a tensor that is not among its {count}"
    for op in graph.ops:
        yield from _operands(op)
    for tensor in graph.tensors:
        yield from _scales(tensor)
    yield from _flow(graph, variables)


def _named(op: Op) -> list[int]:
    return [index for index in (*op.inputs, *op.outputs) if index is not None]


def _operands(op: Op) -> Iterator[str]:
    """What an operator of its kind cannot do without. A custom one's needs are its own."""
    if op.custom or op.kind in CONTROL_FLOW:
        return
    if not op.outputs and op.kind not in NOTHING_OUT:
        yield f"operator {op.order} ({op.kind}) has no output"
    least = 2 if op.kind in WEIGHTED else 0 if op.kind in NOTHING_IN else 1
    if len(op.inputs) < least or None in op.inputs[:least]:
        yield f"operator {op.order} ({op.kind}) lacks an input"


def _scales(tensor: Tensor) -> Iterator[str]:
    found = tensor.quantization
    if found is None:
        return
    if not np.isfinite(found.scales).all():
        yield f"tensor {tensor.name!r} has a scale that is no number"
    if found.axis is not None and not 0 <= found.axis < len(tensor.shape):
        yield f"tensor {tensor.name!r} is quantized along axis {found.axis} of {len(tensor.shape)}"
    elif found.axis is not None and tensor.shape[found.axis] != len(found.scales):
        yield f"tensor {tensor.name!r} has {len(found.scales)} scales for {tensor.shape[found.axis]} channels"


def _flow(graph: Graph, variables: Collection[int]) -> Iterator[str]:
    """Each tensor is written once, before it is read."""
    there = {tensor.index for tensor in graph.tensors if tensor.constant or 0 in tensor.shape}
    constant = {tensor.index for tensor in graph.tensors if tensor.constant}
    written = {*graph.inputs, *variables}
    for op in graph.ops:
        for place, index in enumerate(op.inputs):
            if index is None or index in written or index in there:
                continue
            if op.kind == "RESHAPE" and place == 1:
                continue  # TensorFlow Lite takes the shape from the operator's options then
            name = graph.tensors[index].name
            yield f"operator {op.order} ({op.kind}) reads {name!r}, which is nowhere written before"
        for index in op.outputs:
            if index in constant or (index in written and index not in variables):
                name = graph.tensors[index].name
                yield f"operator {op.order} ({op.kind}) writes {name!r}, which has its value already"
            written.add(index)
    for index in graph.outputs:
        if index not in written and index not in there:
            yield f"its output {graph.tensors[index].name!r} is nowhere written"
