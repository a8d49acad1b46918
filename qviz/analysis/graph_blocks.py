"""A network's operators folded into blocks, so that a graph of hundreds can be read.

An operator that only prepares constants is left out; QUANTIZE and DEQUANTIZE belong to what makes their input.
fork and join   what lies between an operator and the first one that all its paths meet in (its immediate
                post-dominator, where the operator dominates it in turn) is one block with that meeting point: a
                residual block, a CSP stage, a SiLU. The largest that has at most `MOST` operators is taken.
chain           what is left is cut into runs of up to `WEIGHTY` operators with weights; what has none (activation,
                bias, reshape) belongs to the block before it.
Blocks are convex: no path leaves one and comes back, so the folded graph has no cycle.
Operators are known by their order in the file, where TensorFlow Lite keeps them in the order of running.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qviz.structures import Graph, Op

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL")
MOST = 40
WEIGHTY = 3


@dataclass(frozen=True, slots=True)
class Blocks:
    """members: the operators of each block, in the file's order. edges: (block, block) by position, each once."""

    members: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]


def fold(graph: Graph, opened: Collection[int] = ()) -> Blocks:
    """The blocks. One that holds an operator of `opened` is shown as its operators."""
    follows = readers(graph)
    units = _with_conversions(graph, follows)
    owner = _Folding(graph.ops, _between(follows, units), units).owner
    blocks: dict[int, list[int]] = {}
    for order in follows:
        blocks.setdefault(owner[units[order]], []).append(order)
    shown: list[tuple[int, ...]] = []
    for members in blocks.values():
        shown += [(order,) for order in members] if set(members) & set(opened) else [tuple(members)]
    shown.sort()
    place = {order: i for i, members in enumerate(shown) for order in members}
    edges = {(place[a], place[b]) for a, after in follows.items() for b in after if place[a] != place[b]}
    return Blocks(tuple(shown), tuple(sorted(edges)))


def readers(graph: Graph) -> dict[int, tuple[int, ...]]:
    """operator -> the operators that read what it writes; those that only prepare constants are left out."""
    maker: dict[int, int] = {}
    fixed = {tensor.index for tensor in graph.tensors if tensor.constant}
    found: dict[int, dict[int, None]] = {}
    for op in graph.ops:
        reads = [tensor for tensor in op.inputs if tensor is not None]
        if reads and all(tensor in fixed for tensor in reads):
            fixed |= set(op.outputs)
            continue
        found[op.order] = {}
        for tensor in reads:
            if tensor in maker:
                found[maker[tensor]][op.order] = None
        maker |= dict.fromkeys(op.outputs, op.order)
    return {order: tuple(after) for order, after in found.items()}


def _with_conversions(graph: Graph, follows: Mapping[int, tuple[int, ...]]) -> dict[int, int]:
    """operator -> the operator that it belongs to: itself, but for a conversion what makes its input."""
    unit: dict[int, int] = {}
    makers = {after: order for order, afters in follows.items() for after in afters}
    for order in follows:
        made = makers.get(order)
        unit[order] = unit[made] if graph.ops[order].kind in CONVERSIONS and made in unit else order
    return unit


def _between(follows: Mapping[int, tuple[int, ...]], unit: Mapping[int, int]) -> dict[int, tuple[int, ...]]:
    """The edges between units."""
    found: dict[int, dict[int, None]] = {order: {} for order in unit.values()}
    for order, after in follows.items():
        found[unit[order]] |= {unit[other]: None for other in after if unit[other] != unit[order]}
    return {order: tuple(after) for order, after in found.items()}


class _Folding:
    """owner: operator -> the first operator of its block."""

    def __init__(self, ops: Sequence[Op], after: Mapping[int, tuple[int, ...]], units: Mapping[int, int]) -> None:
        self._after = after
        self._before: dict[int, list[int]] = {order: [] for order in after}
        for order, others in after.items():
            for other in others:
                self._before[other].append(order)
        self._size = Counter(units.values())
        self._weight = {order: int(ops[order].kind in WEIGHTED) for order in after}
        self.owner = {order: order for order in after}
        self._members = {order: [order] for order in after}
        for region in sorted(self._regions(), key=self._sized, reverse=True):
            if self._sized(region) <= MOST and all(
                self.owner[order] == order and len(self._members[order]) == 1 for order in region
            ):
                self._join(region)
        self._join_chains()

    def _sized(self, orders: Iterable[int]) -> int:
        """How many operators these units are."""
        return sum(self._size[order] for order in orders)

    def _weighs(self, block: int) -> int:
        return sum(self._weight[order] for order in self._members[block])

    def _join(self, blocks: Sequence[int]) -> None:
        """Several blocks become the first of them."""
        first = min(blocks)
        for block in blocks:
            if block != first:
                self._members[first] += self._members.pop(block)
        self.owner |= dict.fromkeys(self._members[first], first)

    def _regions(self) -> list[list[int]]:
        """What lies between each fork and its join, the join included."""
        orders = sorted(self._after)
        above = _dominators(orders, self._before)
        below = _dominators(orders[::-1], self._after)
        found = []
        for join in (order for order in orders if len(self._before[order]) > 1):
            fork = (above[join] ^ 1 << join).bit_length() - 1  # the last one on all paths to it
            if fork < 0:
                continue
            meeting = below[fork] ^ 1 << fork
            if meeting & -meeting == 1 << join:  # the first one on all paths from the fork
                found.append([o for o in orders if o != fork and above[o] >> fork & 1 and below[o] >> join & 1])
        return found

    def _join_chains(self) -> None:
        """Blocks that follow each other, with nothing beside them, are one up to a weight."""
        whole = {block for block, members in self._members.items() if len(members) > 1 and self._weighs(block)}
        for block in sorted(self._members):
            previous = self._only_one_before(block)
            if previous is None or self._sized(self._members[previous] + self._members[block]) > MOST:
                continue
            own = self._weighs(block)
            if not own or (not {previous, block} & whole and self._weighs(previous) + own <= WEIGHTY):
                self._join([previous, block])

    def _only_one_before(self, block: int) -> int | None:
        """The block that this one alone reads and that nothing else reads."""
        found = {self.owner[order] for member in self._members[block] for order in self._before[member]} - {block}
        if len(found) != 1:
            return None
        previous = found.pop()
        leads = {self.owner[order] for member in self._members[previous] for order in self._after[member]}
        return previous if leads - {previous} == {block} else None


def _dominators(orders: Sequence[int], before: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """operator -> those on every path to it and itself, as bits; orders: each after all of its `before`."""
    found: dict[int, int] = {}
    for order in orders:
        common = -1 if before[order] else 0
        for other in before[order]:
            common &= found[other]
        found[order] = common | 1 << order
    return found
