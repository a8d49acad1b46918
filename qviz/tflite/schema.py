"""Read the graph of a .tflite flatbuffer and check it.

Source of the format: tensorflow/lite/schema/schema.fbs, read with the accessors that ai-edge-litert generates from it;
they do not copy the weights. The bytes are untrusted: a wrong offset or index raises a `ModelError` and nothing else.

Code that receives a graph after `check_graph` need not check it again. TensorFlow Lite runs operators in the order of
the file without checks: an operator whose input has not been computed yet reads uninitialised memory and gives
different numbers each time. Such files are refused. So are files in which an operator that does not check types gets
others than it can convert: it then reads beyond its input.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb
from flatbuffers import flexbuffers

from qviz.errors import ModelError, reason
from qviz.structures import Graph, Op, Quantization, Tensor
from qviz.structures.file_kinds import described
from qviz.tflite.metadata_head import head_notes

NOTHING_OUT = frozenset({"ASSIGN_VARIABLE", "HASHTABLE_IMPORT", "CALL_ONCE"})
NOTHING_IN = frozenset({"VAR_HANDLE", "HASHTABLE", "CALL_ONCE"})
CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL", "STABLEHLO_CASE", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE"})
"""Operators whose inputs and outputs are those of their subgraphs."""
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL"})
"""Operators whose second input is the weights."""
COPIES = frozenset({"RESHAPE", "SQUEEZE"})
"""Operators that copy the bytes of their first input, whatever the types are. Measured with ai-edge-litert 2.3: a
RESHAPE from float32 to int64 ends with other memory of the process, one from float32 to int8 ends the process."""
UNCHECKED = COPIES | {
    *("ADD", "EXPAND_DIMS", "GATHER", "MAXIMUM", "MINIMUM", "MUL", "NEG", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX"),
}
"""Operators that run although the output of a float32 input has another type. SOFTMAX and MUL write float32 into that
type; the others give the output the type float32, which is not the one that the file states."""


def check_graph(graph: Graph, variables: Collection[int]) -> None:
    """Raise ModelError for an inconsistent graph. variables: tensors whose values remain from one run to the next."""
    for complaint in _complaints(graph, variables):
        raise ModelError(f"is damaged: {complaint}. Copy or export it again.")


def _complaints(graph: Graph, variables: Collection[int]) -> Iterator[str]:
    count = len(graph.tensors)
    ends = [*graph.inputs, *graph.outputs]
    if any(not 0 <= index < count for index in (*ends, *(i for op in graph.ops for i in _named(op)))):
        yield f"an operator names a tensor that is not among its {count}"
    for op in graph.ops:
        yield from _operands(op)
        yield from _types(op, graph.tensors)
    for tensor in graph.tensors:
        yield from _scales(tensor)
    yield from _flow(graph, variables)


def _named(op: Op) -> list[int]:
    return [index for index in (*op.inputs, *op.outputs) if index is not None]


def _operands(op: Op) -> Iterator[str]:
    """A message for each missing input or output that the kind of operator needs; custom operators are not checked."""
    if op.custom or op.kind in CONTROL_FLOW:
        return
    if not op.outputs and op.kind not in NOTHING_OUT:
        yield f"operator {op.order} ({op.kind}) has no output"
    min_inputs = 2 if op.kind in WEIGHTED else 0 if op.kind in NOTHING_IN else 1
    if len(op.inputs) < min_inputs or None in op.inputs[:min_inputs]:
        yield f"operator {op.order} ({op.kind}) lacks an input"


def _types(op: Op, tensors: Sequence[Tensor]) -> Iterator[str]:
    """A message if an operator that does not check it has an output of another type than its first input."""
    if op.kind not in UNCHECKED or not op.inputs or op.inputs[0] is None or not op.outputs:
        return
    source, result = tensors[op.inputs[0]].dtype, tensors[op.outputs[0]].dtype
    if source != result and (op.kind in COPIES or source == "float32"):
        yield f"operator {op.order} ({op.kind}) makes {result} of {source}, which it cannot"


def _scales(tensor: Tensor) -> Iterator[str]:
    quantization = tensor.quantization
    if quantization is None:
        return
    if not np.isfinite(quantization.scales).all():
        yield f"tensor {tensor.name!r} has a scale that is not a number"
    axis, scales = quantization.axis, len(quantization.scales)
    if axis is not None and not 0 <= axis < len(tensor.shape):
        yield f"tensor {tensor.name!r} is quantized along axis {axis} of {len(tensor.shape)}"
    elif axis is not None and tensor.shape[axis] != scales:
        yield f"tensor {tensor.name!r} has {scales} scales for {tensor.shape[axis]} channels"


def _flow(graph: Graph, variables: Collection[int]) -> Iterator[str]:
    """A message for each tensor that is written twice or read before it is written, and for outputs never written."""
    there = {tensor.index for tensor in graph.tensors if tensor.constant or 0 in tensor.shape}
    constant = {tensor.index for tensor in graph.tensors if tensor.constant}
    written = {*graph.inputs, *variables}
    for op in graph.ops:
        for position, index in enumerate(op.inputs):
            if index is None or index in written or index in there:
                continue
            if op.kind == "RESHAPE" and position == 1:
                continue  # TensorFlow Lite takes the shape from the operator's options then
            name = graph.tensors[index].name
            yield f"operator {op.order} ({op.kind}) reads {name!r}, which no earlier operator writes"
        for index in op.outputs:
            if index in constant or (index in written and index not in variables):
                name = graph.tensors[index].name
                yield f"operator {op.order} ({op.kind}) writes {name!r}, which already has a value"
            written.add(index)
    for index in graph.outputs:
        if index not in written and index not in there:
            yield f"its output {graph.tensors[index].name!r} is never written"


IDENTIFIER = b"TFL3"
MAX_TENSORS = 200_000

_KINDS = {code: name for name, code in vars(fb.BuiltinOperator).items() if isinstance(code, int)}
_DTYPES = {code: name.lower() for name, code in vars(fb.TensorType).items() if isinstance(code, int)}


def read_graph(data: bytes) -> Graph:
    """The main subgraph of a .tflite file. Raises ModelError if the bytes are not a valid .tflite file."""
    if data[4:8] != IDENTIFIER:
        raise ModelError(f"is not a TensorFlow Lite file: {_difference(data)}")
    try:
        return replace(_graph(fb.Model.GetRootAs(data)), notes=head_notes(data))
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ModelError(
            f"is damaged: its flatbuffer cannot be read{reason(error)}. Copy or export it again."
        ) from error


def _difference(data: bytes) -> str:
    """What kind of file the bytes are, given that they are not a .tflite file, and the most likely next step."""
    if data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        return "it looks like JSON. Recorded results are a list of objects with file_name, label, bbox and score."
    text = described(data)
    if text.startswith("it begins"):
        return f"{text} Was it exported with another tool, or cut while copying?"
    return text


def _graph(model: Any) -> Graph:
    if model.SubgraphsLength() < 1:
        raise ModelError("holds no subgraph, so there is nothing to run.")
    subgraph = model.Subgraphs(0)
    if subgraph.TensorsLength() > MAX_TENSORS:
        raise ModelError(f"claims {subgraph.TensorsLength()} tensors; files of more than {MAX_TENSORS} are refused.")
    codes = [_kind(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
    tensors = tuple(_tensor(model, i, subgraph.Tensors(i)) for i in range(subgraph.TensorsLength()))
    graph = Graph(
        tensors=tensors,
        ops=tuple(_op(codes, i, subgraph.Operators(i)) for i in range(subgraph.OperatorsLength())),
        inputs=tuple(_integers(subgraph.InputsAsNumpy())),
        outputs=tuple(_integers(subgraph.OutputsAsNumpy())),
        subgraphs=model.SubgraphsLength(),
        description=_text(model.Description()),
        signature=_signature(model),
    )
    check_graph(graph, {i for i in range(len(tensors)) if subgraph.Tensors(i).IsVariable()})
    return graph


def _kind(code: Any) -> tuple[str, bool]:
    """(name of the operator, whether it is custom). Old files use another field for the code; the larger one counts."""
    number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
    if number == fb.BuiltinOperator.CUSTOM:
        return _text(code.CustomCode()) or "CUSTOM", True
    return _KINDS.get(number, f"BUILTIN_{number}"), False


def _tensor(model: Any, index: int, tensor: Any) -> Tensor:
    signature = tensor.ShapeSignatureAsNumpy()
    shape = _integers(tensor.ShapeAsNumpy())
    open_shape = _integers(signature)
    if open_shape[:1] == [-1] and shape[:1] == [1]:
        open_shape[0] = 1  # Keras leaves the batch open; qviz runs one image
    size = _buffer_bytes(model, tensor.Buffer())
    return Tensor(
        index=index,
        name=_text(tensor.Name()),
        shape=tuple(open_shape if len(open_shape) == len(shape) else shape),
        dtype=_DTYPES.get(tensor.Type(), f"type_{tensor.Type()}"),
        quantization=_quantization(tensor.Quantization()),
        constant=size > 0 and not tensor.IsVariable(),
        bytes=size,
    )


def _buffer_bytes(model: Any, index: int) -> int:
    """Size of a constant in bytes; files over 2 GB store it outside the flatbuffer, with offset and size."""
    if not 0 < index < model.BuffersLength():
        return 0
    buffer = model.Buffers(index)
    return int(buffer.DataLength() or (buffer.Size() if buffer.Offset() > 1 else 0))


def _quantization(quantization: Any) -> Quantization | None:
    if quantization is None or quantization.ScaleLength() == 0:
        return None
    scales = np.array(quantization.ScaleAsNumpy(), np.float32)
    zeros = np.zeros(len(scales), np.int64)
    if quantization.ZeroPointLength():
        zeros[:] = quantization.ZeroPointAsNumpy()[: len(scales)]  # a single zero point is that of every channel
    axis = quantization.QuantizedDimension() if len(scales) > 1 else None
    return Quantization(scales, zeros, axis)


def _op(codes: list[tuple[str, bool]], order: int, op: Any) -> Op:
    kind, custom = codes[op.OpcodeIndex()]
    return Op(
        order=order,
        kind=kind,
        inputs=tuple(None if index < 0 else index for index in _integers(op.InputsAsNumpy())),
        outputs=tuple(_integers(op.OutputsAsNumpy())),
        custom=custom,
        options=_custom_options(op) if kind == "TFLite_Detection_PostProcess" else {},
    )


def _custom_options(op: Any) -> dict[str, object]:
    """The options of a custom operator from its flexbuffer map; empty if it has none. Raises ModelError."""
    if op.CustomOptionsLength() == 0:
        return {}
    try:
        options = flexbuffers.Loads(bytes(op.CustomOptionsAsNumpy()))
    except Exception as error:  # the reader of flexbuffers may raise any exception
        raise ModelError(f"is damaged: the options of a custom operator cannot be read{reason(error)}.") from error
    return dict(options) if isinstance(options, dict) else {}


def _signature(model: Any) -> dict[str, int]:
    """Name in the file's first signature -> tensor index, for its inputs and outputs."""
    names: dict[str, int] = {}
    if model.SignatureDefsLength():
        signature = model.SignatureDefs(0)
        items = [signature.Inputs(i) for i in range(signature.InputsLength())]
        items += [signature.Outputs(i) for i in range(signature.OutputsLength())]
        names = {_text(item.Name()): item.TensorIndex() for item in items}
    return names


def _integers(array: Any) -> list[int]:
    """An integer vector of the file as a list. array: what an accessor returned, 0 if the vector is absent."""
    return [] if isinstance(array, int) else [int(value) for value in array]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
