"""How a file is quantized, judged by its tensors and operators, not by its name.

The terms are TensorFlow's:
float16        float16 constants, converted to float32 by DEQUANTIZE, or float16 throughout
int8           every operator that has an int8 kernel computes on integers; the others are float islands
int16x8        as int8, with 16-bit activations
dynamic_range  float activations, integer weights that the kernels read directly
weight_only    integer weights, converted to float by DEQUANTIZE before the kernels
mixed          more than one of these in one file, or 8-bit and 16-bit activations together
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qviz.structures import Graph, Op, Scheme, Tensor

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})

_WITH_WEIGHTS = """CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED TRANSPOSE_CONV CONV_3D BATCH_MATMUL EMBEDDING_LOOKUP
UNIDIRECTIONAL_SEQUENCE_LSTM"""
WEIGHT_KINDS = frozenset(_WITH_WEIGHTS.split())
"""Operators with weights, which dynamic-range quantization quantizes."""

_FLOAT_ONLY = """ADD_N CAST CEIL COS CUMSUM ELU EXP FLOOR FLOOR_DIV FLOOR_MOD L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION
MATRIX_DIAG NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 ROUND SEGMENT_SUM SIN SQUARE TOPK_V2 UNIQUE WHERE GATHER_ND
RANGE RANK SHAPE SPARSE_TO_DENSE"""
WITHOUT_INT8 = frozenset(_FLOAT_ONLY.split())
"""Builtin operators that stay float in a full-integer file (no int8 kernel, or they handle indices)."""
INTEGER_FORM = {"ADD_N": "ADD", "SQUARE": "MUL"}
"""Operator without an integer kernel -> operator that has one and can compute the same."""


STRAY = 0.02
"""A file is mixed only if more than this share of its operators has another type. A single reshape between islands, for
example, does not count."""


@dataclass(frozen=True, slots=True)
class SchemeFacts:
    """How a file is quantized.

    Attributes:
        weight_bits: Bits per weight, for the type of weights that takes the most bytes in the file.
        operators: Number of operators; DEQUANTIZE of a constant is not counted.
        quantized_operators: Number of operators that compute on integers.
        float_islands: Operator indices of each group of float operators in a quantized file.
        per_channel: Whether any constant has one scale per channel.
    """

    scheme: Scheme
    weight_bits: int
    operators: int
    quantized_operators: int
    float_islands: tuple[tuple[int, ...], ...]
    per_channel: bool


def scheme_facts(graph: Graph) -> SchemeFacts:
    """Scheme, number of quantized operators and float islands of a graph."""
    ops = [op for op in graph.ops if not unpacks_constant(graph, op)]
    quantized = [op for op in ops if op.kind not in CONVERSIONS and _computes_integers(graph, op)]
    floating = [op for op in ops if op.kind not in CONVERSIONS and _computes_floats(graph, op)]
    return SchemeFacts(
        scheme=_scheme(graph, quantized, floating),
        weight_bits=_weight_bits(graph),
        operators=len(ops),
        quantized_operators=len(quantized),
        float_islands=_runs([op.order for op in floating], graph) if quantized else (),
        per_channel=any(
            t.constant and t.quantization is not None and t.quantization.per_channel for t in graph.tensors
        ),
    )


def _scheme(graph: Graph, quantized: list[Op], floating: list[Op]) -> Scheme:
    if quantized:
        able = [op for op in floating if not op.custom and op.kind not in WITHOUT_INT8]
        if len(able) > STRAY * (len(quantized) + len(able)):
            return Scheme.MIXED
        wide = wide_orders(graph)
        if wide and len(quantized) - len(wide) > STRAY * len(quantized):
            return Scheme.MIXED
        return Scheme.INT16X8 if wide else Scheme.INT8
    kinds = set(_weight_schemes(graph))
    return kinds.pop() if len(kinds) == 1 else Scheme.MIXED if kinds else Scheme.FLOAT32


def wide_orders(graph: Graph) -> tuple[int, ...]:
    """Indices of the operators that compute on integers and write 16-bit activations; conversions are left out."""
    ops = (op for op in graph.ops if op.kind not in CONVERSIONS and _computes_integers(graph, op))
    return tuple(op.order for op in ops if any(t.dtype == "int16" and t.quantized for t in graph.op_outputs(op)))


def _weight_schemes(graph: Graph) -> Iterator[Scheme]:
    """The scheme of each compressed weight in a network with float activations."""
    unpacked = {op.inputs[0]: op.outputs[0] for op in graph.ops if unpacks_constant(graph, op)}
    for op in graph.ops:
        if op.kind in WEIGHT_KINDS and any(_quantized_constant(t) for t in graph.op_inputs(op)):
            yield Scheme.DYNAMIC_RANGE
    for index in unpacked:
        assert index is not None
        packed = graph.tensors[index]
        yield Scheme.FLOAT16 if packed.dtype == "float16" else Scheme.WEIGHT_ONLY
    if not unpacked and any(t.dtype == "float16" and not t.constant for t in graph.tensors):
        yield Scheme.FLOAT16


def _quantized_constant(tensor: Tensor) -> bool:
    """Whether a constant is quantized. int4 and int2 always are; their blockwise scales are stored elsewhere."""
    return tensor.constant and (tensor.quantized or tensor.dtype in ("int4", "int2"))


def unpacks_constant(graph: Graph, op: Op) -> bool:
    """Whether the operator is DEQUANTIZE of a constant, as in float16 and weight-only files."""
    first = op.inputs[0] if op.inputs else None
    return op.kind == "DEQUANTIZE" and first is not None and graph.tensors[first].constant


def _computes_integers(graph: Graph, op: Op) -> bool:
    """Whether an input activation and an output are quantized. A detection post-process, e.g., has float outputs."""
    activations = [t for t in graph.op_inputs(op) if not t.constant]
    return any(t.quantized for t in activations) and any(t.quantized for t in graph.op_outputs(op))


def _computes_floats(graph: Graph, op: Op) -> bool:
    return any(t.dtype in ("float32", "float16") for t in graph.op_outputs(op))


def _weight_bits(graph: Graph) -> int:
    """Bits per weight in the type of constants that takes the most bytes; 32 if there are no constants."""
    sizes: dict[int, int] = {}
    for tensor in graph.tensors:
        bits = _BITS.get(tensor.dtype)
        if tensor.constant and bits and (bits >= 16 or _quantized_constant(tensor)):
            sizes[bits] = sizes.get(bits, 0) + tensor.bytes
    return max(sizes, key=lambda bits: sizes[bits], default=32)


_BITS = {"float64": 64, "float32": 32, "bfloat16": 16, "float16": 16, "int8": 8, "uint8": 8, "int4": 4, "int2": 2}


def _runs(orders: list[int], graph: Graph) -> tuple[tuple[int, ...], ...]:
    """Groups of connected float operators. Two groups are separate if only conversions connect them."""
    islands: list[list[int]] = []
    reached: dict[int, int] = {}  # float tensor -> its island
    for order in orders:
        op = graph.ops[order]
        home = next((reached[t.index] for t in graph.op_inputs(op) if t.index in reached), None)
        if home is None:
            home = len(islands)
            islands.append([])
        islands[home].append(order)
        reached |= dict.fromkeys(op.outputs, home)
    return tuple(tuple(island) for island in islands)


def io_facts(tensor: Tensor) -> dict[str, object]:
    """Name, shape, dtype, scale and zero point of an input or output, as `qviz info --json` prints them."""
    scale = tensor.quantization
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "scale": float(scale.scales[0]) if scale is not None and tensor.quantized else None,
        "zero_point": int(scale.zero_points[0]) if scale is not None and tensor.quantized else None,
    }
