"""Valid .tflite files with an impossible meaning, by number: all tables can be read, but their contents are impossible.

They also use features that few exporters use: sparse and external constants, 2- and 4-bit integers, bfloat16, several
subgraphs with control flow, and signatures that name other tensors than the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from tests.fuzz.models import BASES, ODD, Change, Draw, Mutant, _any, _edited, base

SEED = 20261130
SCALES = (0.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e38, 1e-38, 1e-45)
TYPES = (
    *(fb.TensorType.INT2, fb.TensorType.INT4, fb.TensorType.UINT4, fb.TensorType.BFLOAT16, fb.TensorType.FLOAT8_E4M3FN),
    *(fb.TensorType.STRING, fb.TensorType.RESOURCE, fb.TensorType.VARIANT, fb.TensorType.COMPLEX64, 99),
)


def _quantized(graph: fb.SubGraphT, draw: Draw) -> Any:
    """A tensor with a scale. If no tensor has a scale, one tensor is given one."""
    tensors = [one for one in graph.tensors if one.quantization is not None and one.quantization.scale is not None]
    if tensors:
        return _any(tensors, draw)
    tensor = _any(graph.tensors, draw)
    tensor.quantization = fb.QuantizationParametersT()
    tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [0]
    return tensor


def _scale(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    quantization = _quantized(graph, draw).quantization
    scales = np.array(quantization.scale, np.float32)
    value = np.float32(SCALES[int(draw.integers(len(SCALES)))])
    scales[int(draw.integers(len(scales))) if draw.random() < 0.5 else slice(None)] = value
    quantization.scale = scales


def _zero_point(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    quantization = _quantized(graph, draw).quantization
    count = len(quantization.scale)
    quantization.zeroPoint = np.full(count, _any((-129, 128, 256, 1 << 20, (1 << 62), -(1 << 62)), draw), np.int64)


def _dimension(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Set scales per channel along an axis that the tensor does not have, or as many as do not fit its channels."""
    tensor = _quantized(graph, draw)
    tensor.quantization.quantizedDimension = int(_any((4, 5, 100, -1, (1 << 31) - 1, -(1 << 31)), draw))
    if draw.random() < 0.5:
        count = int(_any((2, 3, 7, 1000), draw))
        tensor.quantization.scale = np.full(count, 0.5, np.float32)
        tensor.quantization.zeroPoint = np.zeros(count, np.int64)


def _cycle(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Let an operator read a tensor that the same or a later operator writes."""
    position = int(draw.integers(len(graph.operators)))
    later = graph.operators[int(draw.integers(position, len(graph.operators)))]
    op = graph.operators[position]
    inputs = list(op.inputs)
    inputs[int(draw.integers(len(inputs)))] = int(later.outputs[0])
    op.inputs = inputs


def _sparse(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    tensor = _any(graph.tensors, draw)
    sparsity = tensor.sparsity = fb.SparsityParametersT()
    rank = 0 if tensor.shape is None else len(tensor.shape)
    sparsity.traversalOrder = np.array([int(_any((0, 1, rank, 99, -1), draw)) for _ in range(rank)], np.int32)
    sparsity.blockMap = np.array([int(_any((0, 5, -3), draw))], np.int32)
    sparsity.dimMetadata = []
    for _ in range(int(draw.integers(0, rank + 2))):
        meta = fb.DimensionMetadataT()
        meta.format = fb.DimensionType.SPARSE_CSR if draw.random() < 0.7 else fb.DimensionType.DENSE
        meta.denseSize = int(_any(ODD, draw))
        for name in ("arraySegments", "arrayIndices"):
            vector = fb.Int32VectorT()
            vector.values = np.array([int(_any(ODD, draw)) for _ in range(int(draw.integers(0, 6)))], np.int32)
            setattr(meta, f"{name}Type", fb.SparseIndexVector.Int32Vector)
            setattr(meta, name, vector)
        sparsity.dimMetadata.append(meta)


def _external(model: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Put a constant after the tables, beyond the end of the file, or into another file."""
    tensor = _any(graph.tensors, draw)
    if draw.random() < 0.5:
        group, buffer = fb.ExternalBufferGroupT(), fb.ExternalBufferT()
        group.name = _any(("/etc/passwd", "../../weights.bin", "", "x" * 5000), draw)
        buffer.id, buffer.group = int(_any((0, 1, 7, (1 << 31) - 1), draw)), int(_any((0, 1, 99), draw))
        buffer.offset, buffer.length = int(_any((0, 1 << 40, 8), draw)), int(_any((0, 1, 1 << 60), draw))
        model.externalBufferGroups, model.externalBuffers = [group], [buffer]
        tensor.externalBuffer = int(_any((0, 1, 7, (1 << 31) - 1), draw))
        tensor.buffer = 0
        return
    buffer = model.buffers[int(draw.integers(1, len(model.buffers)))]
    buffer.data = None
    buffer.offset = int(_any((0, 1, 2, 100, 1 << 31, 1 << 62), draw))
    buffer.size = int(_any((1, 4, 1 << 31, 1 << 62), draw))


def _type(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    for _i in range(int(draw.integers(1, 4))):
        _any(graph.tensors, draw).type = int(_any(TYPES, draw))


def _signature(model: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    signatures = []
    for number in range(int(draw.integers(1, 4))):
        signature = fb.SignatureDefT()
        signature.signatureKey = _any(("serving_default", "", None, "\n<b>x</b>", "a" * 10_000), draw)
        signature.subgraphIndex = int(_any((0, 0, number, 99), draw))
        for name in ("inputs", "outputs"):
            rows = []
            for position in range(int(draw.integers(0, 6))):
                row = fb.TensorMapT()
                row.name = _any(("output_0", "boxes", "scores", f"output_{position}", "", None, "\x00"), draw)
                row.tensorIndex = int(_any((*range(min(8, len(graph.tensors))), -1 & 0xFFFFFFFF, 1 << 20), draw))
                rows.append(row)
            setattr(signature, name, rows)
        signatures.append(signature)
    model.signatureDefs = signatures


def _control_flow(model: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Add IF, WHILE, CALL_ONCE or a similar operator that calls a missing subgraph or its own subgraph."""
    kind = _any(("If", "While", "CallOnce", "Call"), draw)
    names = {"If": "IF", "While": "WHILE", "CallOnce": "CALL_ONCE", "Call": "CALL"}
    code = fb.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(fb.BuiltinOperator, names[kind])
    code.version = 1
    model.operatorCodes.append(code)
    op = _any(graph.operators, draw)
    op.opcodeIndex = len(model.operatorCodes) - 1
    op.builtinOptionsType = getattr(fb.BuiltinOptions, f"{kind}Options")
    op.builtinOptions = getattr(fb, f"{kind}OptionsT")()
    for name in vars(op.builtinOptions):
        setattr(op.builtinOptions, name, int(_any((0, 1, 2, 99), draw)))
    if draw.random() < 0.6:
        other = fb.SubGraphT.InitFromObj(_packed_graph(graph)) if draw.random() < 0.5 else fb.SubGraphT()
        other.tensors, other.inputs = other.tensors or [], [] if other.inputs is None else other.inputs
        other.outputs = [] if other.outputs is None else other.outputs
        other.operators = other.operators or []
        model.subgraphs.append(other)


def _packed_graph(graph: fb.SubGraphT) -> fb.SubGraph:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(graph.Pack(builder))
    return fb.SubGraph.GetRootAs(builder.Output(), 0)


def _subgraphs(model: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Remove all subgraphs, put an empty one first, or repeat one a hundred times."""
    what = int(draw.integers(3))
    empty = fb.SubGraphT()
    empty.tensors, empty.inputs, empty.outputs, empty.operators = [], [], [], []
    model.subgraphs = [[], [empty, graph], [graph] * 100][what]


def _variable(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Make tensors variable, among them constants or inputs."""
    for _i in range(int(draw.integers(1, 6))):
        _any(graph.tensors, draw).isVariable = True


def _open_shape(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    tensor = _any(graph.tensors, draw)
    shape = [int(side) for side in tensor.shape] if tensor.shape is not None else []
    tensor.shapeSignature = np.array([int(_any((-1, side, 0, 1 << 30), draw)) for side in shape], np.int32)
    tensor.hasRank = bool(draw.random() < 0.5)
    if draw.random() < 0.3:
        tensor.shape = None


def _names(_: fb.ModelT, graph: fb.SubGraphT, draw: Draw) -> None:
    """Set names of tensors that are equal, empty, not text, or HTML, and metadata that says they are outputs."""
    for tensor in graph.tensors:
        if draw.random() < 0.5:
            tensor.name = _any((b"", b"\xff\xfe\x00", b"<script>alert(1)</script>", b"scores", b"=cmd()", None), draw)


KINDS: dict[str, Change] = {
    name: _edited(edit)
    for name, edit in {
        "scale": _scale,
        "zero_point": _zero_point,
        "dimension": _dimension,
        "cycle": _cycle,
        "sparse": _sparse,
        "external": _external,
        "type": _type,
        "signature": _signature,
        "control_flow": _control_flow,
        "subgraphs": _subgraphs,
        "variable": _variable,
        "open_shape": _open_shape,
        "names": _names,
    }.items()
}

Maker = Callable[[int], Mutant]


def meaning(number: int, seed: int = SEED) -> Mutant:
    """The file with this number. Numbers go through all kinds, and for each kind through all bases."""
    kind = list(KINDS)[number % len(KINDS)]
    name = BASES[number // len(KINDS) % len(BASES)]
    return Mutant(number, name, kind, KINDS[kind](base(name), np.random.default_rng([seed, number])))
