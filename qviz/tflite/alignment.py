"""Pair the operators of two dataflow graphs one to one, starting from known pairs and following the graphs' edges.

Two pairs never cross: if a is paired with b, no operator before a is paired with an operator after b. A pair is made
only where the graph leaves a single choice or, as the last step, where both operators lie between the same pairs.

`Flow` is the graph that is paired. Conversions (QUANTIZE, DEQUANTIZE) are skipped: an operator that reads the output of
a conversion counts as a reader of the conversion's input. Constants, and values computed from constants alone, form no
edges.
Operators are numbered 0..n-1 in the order of the file, in which they also run. Two operators may be partners if their
kinds are equal or equivalent, their first outputs have equally many elements and the same last dimension, and their
weights have equally many elements.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Graph, Op
from qviz.tflite.scheme import CONVERSIONS, WEIGHT_KINDS

MAX_OPERATORS = 10_000
"""Maximum number of operators. It limits `Flow.before`, which takes the square of this number in bytes, to 100 MB."""

_SAME = ("ADD ADD_N", "RESHAPE SQUEEZE EXPAND_DIMS", "SPLIT SPLIT_V", "PAD PADV2", "SLICE STRIDED_SLICE")
_ROLE = {kind: kinds.split()[0] for kinds in _SAME for kind in kinds.split()}
SYMMETRIC = frozenset({"ADD", "MUL", "MAXIMUM", "MINIMUM"})
"""Roles of the operators whose inputs may come in any order."""

FUSIBLE = frozenset({"RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "ADD", "SUB", "MUL", "DIV"})
"""Operators that converters fuse into the preceding one: activations, and arithmetic with a batch norm's constants."""

Edges = tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """The dataflow graph of n operators.

    Attributes:
        ops: The n operators, without conversions. The other attributes have one entry per operator.
        role, size, weights: Kind (equivalent kinds have one name), size of the first output and number of weights;
            partners agree in all three.
        sources: For each input, (operator that computes it, number of that output); (-1, 0) for a graph input.
        readers: For each reader of an output, (operator that reads it, position of the input).
        before: (n, n) bool; [a, b] is true if b depends on a.
        final: Whether the operator computes an output of the graph.
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
    """The dataflow of a graph without its conversions. Raises ModelError for more than MAX_OPERATORS operators."""
    if len(graph.ops) > MAX_OPERATORS:
        raise ModelError(
            f"has {len(graph.ops)} operators; files of more than {MAX_OPERATORS} are not compared by layer."
        )
    written: dict[int, tuple[int, int]] = dict.fromkeys(graph.inputs, (-1, 0))
    packed: dict[int, int] = {}  # output of a constant's DEQUANTIZE -> the constant
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
    """(elements, last dimension) of the first output; None if the file leaves its shape open."""
    shape = graph.tensors[op.outputs[0]].shape if op.outputs else ()
    return (math.prod(shape), shape[-1]) if shape and min(shape) >= 0 else None


def _weights(graph: Graph, op: Op, packed: dict[int, int]) -> int | None:
    """Number of elements of the largest constant input; None if the kind has no weights or no input is constant."""
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
    """Whether two operators have the same role, size and number of weights; an unknown value agrees with any."""
    if reference.role[i] != variant.role[j]:
        return False
    sizes = reference.size[i], variant.size[j]
    weights = reference.weights[i], variant.weights[j]
    return all(None in both or both[0] == both[1] for both in (sizes, weights))


class Roles:
    """Numbers that identify an operator's context in a graph and can be compared between graphs.

    Two operators have the same number in `above` if everything before them is equal, and in `below` if everything
    after them is. This is Weisfeiler-Lehman refinement; in a graph without cycles, one pass per direction is enough.
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def above(self, flow: Flow) -> list[int]:
        roles: list[int] = []
        for number, read in enumerate(flow.sources):
            inputs = [(roles[source] if source >= 0 else -1, output) for source, output in read]
            ordered = sorted(inputs) if flow.role[number] in SYMMETRIC else inputs
            roles.append(self._number(("above", *_own_key(flow, number), tuple(ordered))))
        return roles

    def below(self, flow: Flow) -> list[int]:
        roles = [0] * len(flow.ops)
        for number in reversed(range(len(flow.ops))):
            uses = []
            for reader, slot in flow.readers[number]:
                position = -1 if flow.role[reader] in SYMMETRIC else slot
                uses.append((roles[reader], position, flow.sources[reader][slot][1]))
            key = ("below", *_own_key(flow, number), flow.final[number], tuple(sorted(uses)))
            roles[number] = self._number(key)
        return roles


def _own_key(flow: Flow, number: int) -> tuple[Hashable, ...]:
    return flow.role[number], flow.size[number], flow.weights[number]


REACH = 6
"""Maximum number of unpaired operators to step over in search of a paired one. An activation that is not fused consists
of two to five operators."""


class Alignment:
    """A one-to-one pairing of two flows that is extended step by step.

    Args:
        refuted: (n, m) bool, pairs that must not be made.
    """

    def __init__(self, reference: Flow, variant: Flow, refuted: np.ndarray | None = None) -> None:
        self.reference, self.variant = reference, variant
        self.partner: dict[int, int] = {}
        self._partner_of_variant: dict[int, int] = {}
        self._refuted = refuted
        self._fresh: list[tuple[int, int]] = []

    def possible(self, i: int, j: int) -> bool:
        if i in self.partner or j in self._partner_of_variant or not agree(self.reference, i, self.variant, j):
            return False
        return (self._refuted is None or not self._refuted[i, j]) and not self._crosses(i, j)

    def _crosses(self, i: int, j: int) -> bool:
        paired, partners = list(self.partner), list(self._partner_of_variant)
        first, second = self.reference.before, self.variant.before
        ahead = first[paired, i] & second[j, partners]
        behind = first[i, paired] & second[partners, j]
        return bool((ahead | behind).any())

    def add(self, pairs: Iterable[tuple[int, int]]) -> bool:
        """Add the pairs that are still possible, and return whether any was added."""
        before = len(self.partner)
        for i, j in pairs:
            if self.possible(i, j):
                self.partner[i], self._partner_of_variant[j] = j, i
                self._fresh.append((i, j))
        return len(self.partner) > before

    def grow(self) -> None:
        """Pair the neighbours of pairs wherever the graph leaves only one choice."""
        while self._fresh:
            i, j = self._fresh.pop(0)
            for upstream in (True, False):
                sides = self._neighbours(self.reference, i, upstream), self._neighbours(self.variant, j, upstream)
                self.add(_only_choices(*sides))

    def _neighbours(self, flow: Flow, number: int, upstream: bool) -> Iterator[tuple[Hashable, int]]:
        """(key of position and kind of the connection, operator) for each unpaired neighbour of an operator."""
        paired = self.partner if flow is self.reference else self._partner_of_variant
        inputs = [(number, slot) for slot in range(len(flow.sources[number]))]
        for reader, slot in inputs if upstream else flow.readers[number]:
            source, output = flow.sources[reader][slot]
            other = source if upstream else reader
            if other >= 0 and other not in paired:
                position = -1 if flow.role[reader] in SYMMETRIC else slot
                yield (position, output, flow.role[other], flow.size[other]), other

    def fill(self) -> None:
        """Pair operators that lie between the same pairs, even if some of their neighbours have no partner."""
        open_pairs = [pair for pair in self._candidates() if self.possible(*pair)]
        while True:
            ranked = sorted((-value, i, j) for i, j, value in self._between(open_pairs))
            if not self.add(_clear(ranked)):
                return
            self.grow()

    def after_fused(self, i: int) -> int:
        """The last operator of the reference that the variant has fused into i's partner; i itself if it fused none."""
        readers = {reader for reader, _ in self.variant.readers[self.partner[i]]}
        last = i
        while (following := self._fusible_reader(last)) is not None:
            last = following
        partners = {self.partner.get(reader) for reader, _ in self.reference.readers[last]}
        ends = self.reference.final[last] and self.variant.final[self.partner[i]]
        return last if ends or partners & readers else i

    def _fusible_reader(self, number: int) -> int | None:
        """The only reader of an operator, if that reader is unpaired, has no other input, and is of a fusible kind."""
        flow = self.reference
        if flow.final[number] or len(flow.readers[number]) != 1:
            return None
        reader = flow.readers[number][0][0]
        fusible = flow.role[reader] in FUSIBLE and len(flow.sources[reader]) == 1 and reader not in self.partner
        return reader if fusible and flow.size[reader] == flow.size[number] else None

    def _free(self, flow: Flow, paired: dict[int, int]) -> dict[int, tuple[set[int], set[int]]]:
        """Unpaired operator -> the nearest paired operators before and after it, as numbers of the variant."""
        name = {i: (j if flow is self.reference else i) for i, j in paired.items()}
        return {
            number: (_nearest(number, flow.sources, name), _nearest(number, flow.readers, name))
            for number in range(len(flow.ops))
            if number not in paired
        }

    def _candidates(self) -> Iterator[tuple[int, int]]:
        by_role: dict[str, list[int]] = defaultdict(list)
        for j, role in enumerate(self.variant.role):
            by_role[role].append(j)
        return ((i, j) for i, role in enumerate(self.reference.role) for j in by_role[role])

    def _between(self, candidates: list[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
        """(i, j, similarity 1..2) for candidates that share at least half of the paired operators around them."""
        left, right = self._free(self.reference, self.partner), self._free(self.variant, self._partner_of_variant)
        for i, j in candidates:
            if i in left and j in right:
                value = sum(_overlap(near, others) for near, others in zip(left[i], right[j], strict=True))
                if value >= 1 and self.possible(i, j):
                    yield i, j, value


def _only_choices(
    reference: Iterable[tuple[Hashable, int]], variant: Iterable[tuple[Hashable, int]]
) -> Iterator[tuple[int, int]]:
    """Pairs (i, j) of operators whose key occurs exactly once on each side."""
    sides: tuple[dict[Hashable, set[int]], dict[Hashable, set[int]]] = (defaultdict(set), defaultdict(set))
    for side, entries in zip(sides, (reference, variant), strict=True):
        for key, number in entries:
            side[key].add(number)
    for key, numbers in sides[0].items():
        others = sides[1].get(key, set())
        if len(numbers) == len(others) == 1:
            yield next(iter(numbers)), next(iter(others))


def _nearest(number: int, neighbours: Edges, name: dict[int, int]) -> set[int]:
    """Names of the nearest paired operators in one direction, stepping over at most REACH unpaired ones."""
    nearest: set[int] = set()
    visited = {number}
    border = {number}
    for _ in range(REACH + 1):
        near = {other for at in border for other, _ in neighbours[at] if other >= 0} - visited
        nearest |= {name[other] for other in near if other in name}
        border = {other for other in near if other not in name}
        visited |= border
    return nearest


def _overlap(some: set[int], others: set[int]) -> float:
    """Jaccard index, in [0, 1]; 0 for two empty sets, because they are no evidence for a pair."""
    return len(some & others) / len(some | others) if some | others else 0.0


def _clear(ranked: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
    """The best-ranked pairs whose operators are in no other best-ranked pair; if there is none, only the first pair."""
    best = [(i, j) for value, i, j in ranked if value == ranked[0][0]]
    first, second = Counter(i for i, _ in best), Counter(j for _, j in best)
    return [(i, j) for i, j in best if first[i] == second[j] == 1] or best[:1]
