"""Read a .tflite file into objects that can be changed, and write it again."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.tflite.cutter import AlignedBuilder

OUTPUTS_FIELD = 8
"""Position of `SubGraph.outputs` in the table's list of fields, in bytes (`schema_py_generated.SubGraph.Outputs`)."""


def unpacked(data: bytes) -> Any:
    """The file as a `ModelT`. Constants stored after the flatbuffer (`Buffer.offset`) are moved into it."""
    model = fb.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data, np.uint8)[buffer.offset : buffer.offset + buffer.size]
            buffer.offset = buffer.size = 0
    return model


def packed(model: Any) -> bytes:
    """The bytes of the .tflite file that a `ModelT` describes, with the data of buffers aligned to 16 bytes."""
    builder = AlignedBuilder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_outputs(data: bytes, tensors: Sequence[int]) -> bytes:
    """The file with further tensors of the main subgraph as its last outputs.

    Nothing is unpacked: a longer list of outputs is appended to the file, and the subgraph then refers to that list.
    Raises ValueError if the subgraph has no list of outputs.
    """
    graph = fb.Model.GetRootAs(data).Subgraphs(0)
    offset = graph._tab.Offset(OUTPUTS_FIELD)
    if not offset:
        raise ValueError("the main subgraph has no outputs")
    reference, end = graph._tab.Pos + offset, -(-len(data) // 4) * 4
    outputs = [*(graph.Outputs(position) for position in range(graph.OutputsLength())), *tensors]
    listed = struct.pack(f"<I{len(outputs)}i", len(outputs), *outputs)
    parts = data[:reference], struct.pack("<I", end - reference), data[reference + 4 :], bytes(end - len(data)), listed
    return b"".join(parts)


def without_unused(model: Any) -> Any:
    """Remove the main subgraph's tensors and the buffers that nothing uses, in place; returns the same `ModelT`.

    Buffers of other subgraphs and of metadata stay.
    """
    subgraph = model.subgraphs[0]
    ends = [*subgraph.inputs, *subgraph.outputs]
    named = [index for op in subgraph.operators for index in _indices(op)]
    scales = [index for tensor in subgraph.tensors for index in _scale_tensors(tensor)]
    used = sorted({int(index) for index in (*ends, *named, *scales) if index >= 0})
    numbers = {old: new for new, old in enumerate(used)} | {-1: -1}
    subgraph.tensors = [subgraph.tensors[old] for old in used]
    subgraph.inputs, subgraph.outputs = (
        [numbers[int(i)] for i in side] for side in (subgraph.inputs, subgraph.outputs)
    )
    for op in subgraph.operators:
        op.inputs, op.outputs = ([numbers[int(i)] for i in side] for side in (op.inputs, op.outputs))
        op.intermediates = None if op.intermediates is None else [numbers[int(i)] for i in op.intermediates]
    for tensor in subgraph.tensors:
        if details := _blockwise(tensor):
            details.scales, details.zeroPoints = numbers[details.scales], numbers[details.zeroPoints]
    _renumber_signature(model, numbers)
    _drop_unused_buffers(model)
    return model


def _indices(op: Any) -> list[int]:
    """All tensor indices in an operator: inputs, outputs and intermediates; -1 stands for an absent tensor."""
    return [*op.inputs, *op.outputs, *(op.intermediates if op.intermediates is not None else ())]


def _blockwise(tensor: Any) -> Any:
    """The details of blockwise quantization, which name the tensors of scales and zero points; else None."""
    quantization = tensor.quantization
    blockwise = fb.QuantizationDetails.BlockwiseQuantization
    return quantization.details if quantization is not None and quantization.detailsType == blockwise else None


def _scale_tensors(tensor: Any) -> list[int]:
    details = _blockwise(tensor)
    return [] if details is None else [details.scales, details.zeroPoints]


def _renumber_signature(model: Any, numbers: dict[int, int]) -> None:
    """Give the entries of the main subgraph's signatures their new tensor indices; drop those without a tensor."""
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            signature.inputs, signature.outputs = (
                [entry for entry in side or () if entry.tensorIndex in numbers]
                for side in (signature.inputs, signature.outputs)
            )
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = numbers[entry.tensorIndex]


def _drop_unused_buffers(model: Any) -> None:
    tensors = [tensor for subgraph in model.subgraphs for tensor in subgraph.tensors or ()]
    metadata = list(model.metadata or ())
    used = sorted({0, *(t.buffer for t in tensors), *(m.buffer for m in metadata), *(model.metadataBuffer or ())})
    numbers = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for owner in (*tensors, *metadata):
        owner.buffer = numbers[owner.buffer]
    if model.metadataBuffer is not None:
        model.metadataBuffer = [numbers[int(buffer)] for buffer in model.metadataBuffer]


def add_constant(model: Any, name: str, values: np.ndarray) -> int:
    """Add a float32 or int32 constant to the main subgraph; returns its tensor index."""
    subgraph = model.subgraphs[0]
    dtype = {"float32": fb.TensorType.FLOAT32, "int32": fb.TensorType.INT32}[str(values.dtype)]
    buffer = fb.BufferT(data=np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8))
    subgraph.tensors.append(
        fb.TensorT(name=name.encode(), shape=list(values.shape), type=dtype, buffer=len(model.buffers))
    )
    model.buffers.append(buffer)
    return len(subgraph.tensors) - 1


def set_outputs(model: Any, outputs: dict[str, int]) -> None:
    """Make these tensors the outputs of the main subgraph, under these names in its signature.

    outputs: name -> tensor index. A file without a signature gets one.
    """
    subgraph = model.subgraphs[0]
    subgraph.outputs = list(outputs.values())
    signatures = [signature for signature in model.signatureDefs or () if signature.subgraphIndex == 0]
    if not signatures:
        entries = [
            fb.TensorMapT(name=f"input_{number}".encode(), tensorIndex=int(index))
            for number, index in enumerate(subgraph.inputs)
        ]
        signatures = [fb.SignatureDefT(inputs=entries, signatureKey=b"serving_default", subgraphIndex=0)]
        model.signatureDefs = [*(model.signatureDefs or ()), *signatures]
    for signature in signatures:
        signature.outputs = [fb.TensorMapT(name=name.encode(), tensorIndex=index) for name, index in outputs.items()]


def add_tensor(model: Any, name: str, like: int) -> int:
    """Add an activation with the shape and type of another tensor of the main subgraph; returns its index."""
    tensors = model.subgraphs[0].tensors
    row = tensors[like]
    tensors.append(fb.TensorT(name=name.encode(), shape=list(row.shape), type=row.type, buffer=0))
    return len(tensors) - 1


def binary_operator(model: Any, kind: str, inputs: list[int], output: int, activation: str = "NONE") -> Any:
    """An ADD or MUL with a fused activation; the caller must insert it into the subgraph's operators."""
    options = {"ADD": fb.AddOptionsT, "MUL": fb.MulOptionsT}[kind]()
    options.fusedActivationFunction = getattr(fb.ActivationFunctionType, activation)
    return fb.OperatorT(
        opcodeIndex=operator_code(model, kind),
        inputs=inputs,
        outputs=[output],
        builtinOptionsType=getattr(fb.BuiltinOptions, type(options).__name__.removesuffix("T")),
        builtinOptions=options,
    )


def operator_code(model: Any, kind: str, version: int = 1) -> int:
    """Index of the operator code of a builtin; it is added if the file has none of at least this version."""
    number = getattr(fb.BuiltinOperator, kind)
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number and code.version >= version:
            return index
    model.operatorCodes.append(
        fb.OperatorCodeT(deprecatedBuiltinCode=min(number, 127), version=version, builtinCode=number)
    )
    return len(model.operatorCodes) - 1


def set_constant(model: Any, index: int, values: np.ndarray, scales: np.ndarray) -> None:
    """Give a quantized constant of the main subgraph other integers and scales.

    Args:
        model: A `ModelT`.
        index: Index of the tensor. If another tensor shares its buffer, that tensor keeps the old data.
        values: Integers in the tensor's shape and type.
        scales: (1,) or (channels,) float32.
    """
    tensors = model.subgraphs[0].tensors
    tensor = tensors[index]
    if sum(other.buffer == tensor.buffer for other in tensors) > 1:
        tensor.buffer = len(model.buffers)
        model.buffers.append(fb.BufferT())
    model.buffers[tensor.buffer].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    tensor.quantization.scale = scales.astype(np.float32)
