"""A graph as its values run, and the place of an operator in it.

Conversions (QUANTIZE, DEQUANTIZE) are seen through; constants and whatever is computed from constants alone are no
edges. Operators are numbered 0..n-1 in the file's order, which is an order of execution. Two operators may be partners
when their kinds are equal or do the same, their first outputs have equally many elements and the same last dimension,
and their weights equally many elements.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Graph, Op
from qviz.tflite.scheme import CONVERSIONS, WEIGHT_KINDS

MAX_OPERATORS = 10_000
"""`Flow.before` holds the square of it in bytes: 100 MB."""

_SAME = ("ADD ADD_N", "RESHAPE SQUEEZE EXPAND_DIMS", "SPLIT SPLIT_V", "PAD PADV2", "SLICE STRIDED_SLICE")
_ROLE = {kind: kinds.split()[0] for kinds in _SAME for kind in kinds.split()}
SYMMETRIC = frozenset({"ADD", "MUL", "MAXIMUM", "MINIMUM"})
"""Their inputs may come in any order; named by role."""

FUSIBLE = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "ADD", "SUB", "MUL", "DIV"})
"""Converters fold these into the operator before: activations, and constants of a batch normalisation."""

Edges = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """ops (n); role, size, weights (n): what a partner must have; sources[i]: (operator, its output), or (-1, 0) for an
    input of the graph; readers[i]: (operator, its slot); before (n, n) bool: [a, b] when b's values depend on a's;
    final (n): whether the graph gives it out.
    """

    ops: tuple[Op, ...]
    role: tuple[str, ...]
    size: tuple[tuple[int, int] | None, ...]
    weights: tuple[int | None, ...]
    sources: Edges
    readers: Edges
    before: np.ndarray
    final: tuple[bool, ...]


def flow_of(graph: Graph) -> Flow:
    """The dataflow of a graph's computing operators. Raises ModelError for more than MAX_OPERATORS."""
    if len(graph.ops) > MAX_OPERATORS:
        raise ModelError(
            f"has {len(graph.ops)} operators; files of more than {MAX_OPERATORS} are not compared by layer."
        )
    written: dict[int, tuple[int, int]] = dict.fromkeys(graph.inputs, (-1, 0))
    packed: dict[int, int] = {}  # a constant after its DEQUANTIZE -> before it
    ops: list[Op] = []
    sources: list[tuple[tuple[int, int], ...]] = []
    for op in graph.ops:
        read = tuple(written[index] for index in op.inputs if index is not None and index in written)
        if op.kind in CONVERSIONS:
            packed |= {output: index for output, index in zip(op.outputs, op.inputs, strict=False) if index is not None}
            written |= dict(zip(op.outputs, read, strict=False))
            continue
        if read:
            written |= {output: (len(ops), slot) for slot, output in enumerate(op.outputs)}
        ops.append(op)
        sources.append(read)
    ends = {written[index][0] for index in graph.outputs if index in written}
    return Flow(
        ops=tuple(ops),
        role=tuple(_ROLE.get(op.kind, op.kind) for op in ops),
        size=tuple(_size(graph, op) for op in ops),
        weights=tuple(_weights(graph, op, packed) for op in ops),
        sources=tuple(sources),
        readers=_readers(sources),
        before=_before(sources),
        final=tuple(number in ends for number in range(len(ops))),
    )


def _size(graph: Graph, op: Op) -> tuple[int, int] | None:
    """(elements, last dimension) of the first output; None where the file leaves its shape open."""
    shape = graph.tensors[op.outputs[0]].shape if op.outputs else ()
    return (math.prod(shape), shape[-1]) if shape and min(shape) >= 0 else None


def _weights(graph: Graph, op: Op, packed: dict[int, int]) -> int | None:
    """Elements of its largest constant, where the kind has weights and the file holds them."""
    if op.kind not in WEIGHT_KINDS:
        return None
    read = (graph.tensors[packed.get(index, index)] for index in op.inputs if index is not None)
    return max((math.prod(tensor.shape) for tensor in read if tensor.constant), default=None)


def _readers(sources: list[tuple[tuple[int, int], ...]]) -> Edges:
    readers: list[list[tuple[int, int]]] = [[] for _ in sources]
    for number, read in enumerate(sources):
        for slot, (source, _) in enumerate(read):
            if source >= 0:
                readers[source].append((number, slot))
    return tuple(tuple(read) for read in readers)


def _before(sources: list[tuple[tuple[int, int], ...]]) -> np.ndarray:
    needs = np.zeros((len(sources), len(sources)), bool)  # [operator, what it depends on]
    for number, read in enumerate(sources):
        for source, _ in read:
            if source >= 0:
                needs[number] |= needs[source]
                needs[number, source] = True
    return needs.T


def agree(reference: Flow, i: int, variant: Flow, j: int) -> bool:
    """Kind, size and weights allow the two to be partners; what a file leaves open speaks against nothing."""
    if reference.role[i] != variant.role[j]:
        return False
    sizes = reference.size[i], variant.size[j]
    weights = reference.weights[i], variant.weights[j]
    return all(None in both or both[0] == both[1] for both in (sizes, weights))


class Roles:
    """Numbers for places in a graph: equal where everything before (`above`) or after (`below`) an operator is equal.

    Weisfeiler and Lehman's refinement along a directed graph without cycles, so that one pass each way is enough.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def above(self, flow: Flow) -> list[int]:
        places: list[int] = []
        for number, read in enumerate(flow.sources):
            inputs = [(places[source] if source >= 0 else -1, output) for source, output in read]
            ordered = sorted(inputs) if flow.role[number] in SYMMETRIC else inputs
            places.append(self._number(("above", *_own(flow, number), tuple(ordered))))
        return places

    def below(self, flow: Flow) -> list[int]:
        places = [0] * len(flow.ops)
        for number in reversed(range(len(flow.ops))):
            uses = []
            for reader, slot in flow.readers[number]:
                place = -1 if flow.role[reader] in SYMMETRIC else slot
                uses.append((places[reader], place, flow.sources[reader][slot][1]))
            key = ("below", *_own(flow, number), flow.final[number], tuple(sorted(uses)))
            places[number] = self._number(key)
        return places


def _own(flow: Flow, number: int) -> tuple[Hashable, ...]:
    return flow.role[number], flow.size[number], flow.weights[number]
