"""A network as a graph of blocks: which operators belong together, and what each block is called.

Operators are folded into blocks so that a graph of hundreds of operators stays readable. An operator that only prepares
constants is left out; QUANTIZE and DEQUANTIZE belong to the operator that computes their input.
fork and join   a fork is an operator with several readers. Its join is the first operator in which all paths from the
                fork meet (its immediate post-dominator, if the fork in turn dominates it). All operators between the
                two, including the join, are one block: a residual block, a CSP stage, a SiLU. The largest such region
                with at most `MAX_OPERATORS` operators is taken.
chain           the remaining operators are cut into runs of up to `MAX_WEIGHTED` operators with weights; operators
                without weights (activation, bias, reshape) belong to the block before them.
Blocks are convex: no path leaves a block and enters it again, so the folded graph has no cycle. Operators are
identified by their index in the file, which is an order of execution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qviz.structures import Graph, Op
from qviz.tflite.paired_networks import CONVERSIONS

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL")
MAX_OPERATORS = 40
MAX_WEIGHTED = 3
"""Maximum number of operators with weights in a block."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a graph.

    members: operator indices of each block, in the order of the file; edges: pairs of connected blocks, each once.
    """

    members: tuple[tuple[int, ...], ...]
    edges: tuple[tuple[int, int], ...]


def fold(graph: Graph, opened: Collection[int] = ()) -> Blocks:
    """The blocks of a graph. A block that contains an operator of `opened` is replaced by its single operators."""
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
    position = {order: i for i, members in enumerate(shown) for order in members}
    edges = {(position[a], position[b]) for a, after in follows.items() for b in after if position[a] != position[b]}
    return Blocks(tuple(shown), tuple(sorted(edges)))


def readers(graph: Graph) -> dict[int, tuple[int, ...]]:
    """Operator -> the operators that read its outputs; those that only prepare constants are left out."""
    maker: dict[int, int] = {}
    fixed = {tensor.index for tensor in graph.tensors if tensor.constant}
    followers: dict[int, dict[int, None]] = {}
    for op in graph.ops:
        reads = [tensor for tensor in op.inputs if tensor is not None]
        if reads and all(tensor in fixed for tensor in reads):
            fixed |= set(op.outputs)
            continue
        followers[op.order] = {}
        for tensor in reads:
            if tensor in maker:
                followers[maker[tensor]][op.order] = None
        maker |= dict.fromkeys(op.outputs, op.order)
    return {order: tuple(after) for order, after in followers.items()}


def _with_conversions(graph: Graph, follows: Mapping[int, tuple[int, ...]]) -> dict[int, int]:
    """Operator -> its unit: the operator itself or, for a conversion, the operator that computes its input."""
    unit: dict[int, int] = {}
    makers = {after: order for order, afters in follows.items() for after in afters}
    for order in follows:
        maker = makers.get(order)
        unit[order] = unit[maker] if graph.ops[order].kind in CONVERSIONS and maker in unit else order
    return unit


def _between(follows: Mapping[int, tuple[int, ...]], unit: Mapping[int, int]) -> dict[int, tuple[int, ...]]:
    """Unit -> the other units that read it."""
    edges: dict[int, dict[int, None]] = {order: {} for order in unit.values()}
    for order, after in follows.items():
        edges[unit[order]] |= {unit[other]: None for other in after if unit[other] != unit[order]}
    return {order: tuple(after) for order, after in edges.items()}


class _Folding:
    """The blocks while they are being joined. owner: operator -> the first operator of its block."""

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
            if self._sized(region) <= MAX_OPERATORS and all(
                self.owner[order] == order and len(self._members[order]) == 1 for order in region
            ):
                self._join(region)
        self._join_chains()

    def _sized(self, orders: Iterable[int]) -> int:
        """Number of operators in these units."""
        return sum(self._size[order] for order in orders)

    def _weighs(self, block: int) -> int:
        return sum(self._weight[order] for order in self._members[block])

    def _join(self, blocks: Sequence[int]) -> None:
        """Join several blocks into the first of them."""
        first = min(blocks)
        for block in blocks:
            if block != first:
                self._members[first] += self._members.pop(block)
        self.owner |= dict.fromkeys(self._members[first], first)

    def _regions(self) -> list[list[int]]:
        """The operators between each fork and its join, the join included."""
        orders = sorted(self._after)
        above = _dominators(orders, self._before)
        below = _dominators(orders[::-1], self._after)
        regions = []
        for join in (order for order in orders if len(self._before[order]) > 1):
            fork = (above[join] ^ 1 << join).bit_length() - 1  # the last one on all paths to it
            if fork < 0:
                continue
            meeting = below[fork] ^ 1 << fork
            if meeting & -meeting == 1 << join:  # the first one on all paths from the fork
                regions.append([o for o in orders if o != fork and above[o] >> fork & 1 and below[o] >> join & 1])
        return regions

    def _join_chains(self) -> None:
        """Join each block with the one before it if nothing branches in between, up to MAX_WEIGHTED."""
        whole = {block for block, members in self._members.items() if len(members) > 1 and self._weighs(block)}
        for block in sorted(self._members):
            previous = self._only_one_before(block)
            if previous is None or self._sized(self._members[previous] + self._members[block]) > MAX_OPERATORS:
                continue
            weight = self._weighs(block)
            if not weight or (not {previous, block} & whole and self._weighs(previous) + weight <= MAX_WEIGHTED):
                self._join([previous, block])

    def _only_one_before(self, block: int) -> int | None:
        """The only block that this one reads, if no other block reads it; else None."""
        blocks = {self.owner[order] for member in self._members[block] for order in self._before[member]} - {block}
        if len(blocks) != 1:
            return None
        previous = blocks.pop()
        leads = {self.owner[order] for member in self._members[previous] for order in self._after[member]}
        return previous if leads - {previous} == {block} else None


def _dominators(orders: Sequence[int], before: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Operator -> bit mask of its dominators: the operators on every path to it, and itself.

    orders: the operators, topologically sorted.
    """
    dominators: dict[int, int] = {}
    for order in orders:
        common = -1 if before[order] else 0
        for other in before[order]:
            common &= dominators[other]
        dominators[order] = common | 1 << order
    return dominators


SHORT = {"CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "DwConv", "FULLY_CONNECTED": "Dense", "CONCATENATION": "Concat"}
MADE_UP = ("tf.", "StatefulPartitionedCall", "PartitionedCall")
"""Scopes that converters add and that do not describe the network."""


def kinds_text(kinds: Sequence[str]) -> str:
    """Number of operators of each type as text, those with weights first: `2 Conv, ADD`."""
    counts = Counter(SHORT.get(kind, kind) for kind in sorted(kinds, key=lambda kind: kind not in WEIGHTED))
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in counts.items())


def block_names(graph: Graph, blocks: Sequence[tuple[int, ...]]) -> list[str]:
    """Name of each block: the last scope its tensors share if that is unique, else the scope of its first operator.

    A name is empty if a converter made the tensor names up.
    """
    shared = [_shared(graph, members) for members in blocks]
    counts = Counter(words[-1] if words else "" for words in shared)
    names = []
    for words, members in zip(shared, blocks, strict=True):
        if len(members) > 1 and words and counts[words[-1]] == 1:
            words = words[-1:]
        elif len(members) > 1:
            words = next((path for order in members if (path := _path(graph, order))), [])
        names.append("/".join(words[-2:]))
    return names


def _shared(graph: Graph, members: Sequence[int]) -> list[str]:
    paths = [_path(graph, order) for order in members if graph.ops[order].kind not in CONVERSIONS]
    common: list[str] = []
    for words in zip(*paths, strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return common


def _path(graph: Graph, order: int) -> list[str]:
    """The scopes in the name of an operator's first output; empty if a converter made the name up."""
    outputs = graph.ops[order].outputs
    name = graph.tensors[outputs[0]].name.split(";")[0] if outputs else ""
    made_up = name.startswith(MADE_UP) or "/tf." in name
    return [] if made_up else name.split("/")[:-1]
