"""A variant's network as a graph of blocks, each with the worst of its layers: what the coloured graph shows.

The worst layer of a block is the one with the lowest SQNR (dB, higher is better) of the metric asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from qviz.analysis.graph_blocks import CONVERSIONS, WEIGHTED, fold
from qviz.analysis.graph_layout import Layout, lay_out
from qviz.analysis.layer_error import LayerError
from qviz.analysis.outliers import Outliers
from qviz.structures import Graph

METRICS = ("cumulative_sqnr_db", "local_sqnr_db")
SHORT = {"CONV_2D": "Conv", "DEPTHWISE_CONV_2D": "DwConv", "FULLY_CONNECTED": "Dense", "CONCATENATION": "Concat"}
MADE_UP = ("tf.", "StatefulPartitionedCall", "PartitionedCall")
"""Scopes that tell nothing of the network."""


@dataclass(frozen=True, slots=True)
class GraphNode:
    """orders: its operators. worst: the order of the layer with the lowest SQNR, `worst_db`; None where none differs.

    layers: how many of its operators are measured; outliers: those of them that stand out.
    """

    orders: tuple[int, ...]
    name: str
    kinds: str
    layers: int
    worst: int | None
    worst_db: float | None
    outliers: tuple[int, ...]

    @property
    def folded(self) -> bool:
        return len(self.orders) > 1


@dataclass(frozen=True, slots=True, eq=False)
class ErrorGraph:
    """nodes stand at `layout.positions`."""

    metric: str
    nodes: tuple[GraphNode, ...]
    layout: Layout

    def node_of(self, order: int | None) -> GraphNode | None:
        """The node that holds an operator."""
        return next((node for node in self.nodes if order in node.orders), None)


def error_graph(
    graph: Graph,
    layers: Sequence[LayerError],
    unusual: Outliers,
    metric: str = METRICS[0],
    opened: Collection[int] = (),
) -> ErrorGraph:
    """The blocks of a variant's graph; those that hold an operator of `opened` are shown as operators."""
    blocks = fold(graph, opened)
    values = {layer.order: getattr(layer, metric) for layer in layers}
    names = _names(graph, blocks.members)
    nodes = (_node(graph, m, name, values, unusual) for m, name in zip(blocks.members, names, strict=True))
    return ErrorGraph(metric, tuple(nodes), lay_out(len(blocks.members), blocks.edges))


def _node(
    graph: Graph, members: tuple[int, ...], name: str, values: Mapping[int, float | None], unusual: Outliers
) -> GraphNode:
    known = {order: value for order in members if (value := values.get(order)) is not None}
    worst = min(known, key=lambda order: known[order], default=None)
    kinds = _kinds([graph.ops[order].kind for order in members])
    layers = sum(order in values for order in members)
    marked = tuple(order for order in members if order in unusual)
    return GraphNode(members, name, kinds, layers, worst, None if worst is None else known[worst], marked)


def _kinds(kinds: Sequence[str]) -> str:
    """How many of each, those with weights first."""
    counts = Counter(SHORT.get(kind, kind) for kind in sorted(kinds, key=lambda kind: kind not in WEIGHTED))
    return ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in counts.items())


def _names(graph: Graph, blocks: Sequence[tuple[int, ...]]) -> list[str]:
    """What tells the blocks apart: the scope that a block's tensors share, else that of its first one, else nothing."""
    shared = [_shared(graph, members) for members in blocks]
    counts = Counter(words[-1] if words else "" for words in shared)
    found = []
    for words, members in zip(shared, blocks, strict=True):
        if len(members) > 1 and words and counts[words[-1]] == 1:
            words = words[-1:]
        elif len(members) > 1:
            words = next((path for order in members if (path := _path(graph, order))), [])
        found.append("/".join(words[-2:]))
    return found


def _shared(graph: Graph, members: Sequence[int]) -> list[str]:
    paths = [_path(graph, order) for order in members if graph.ops[order].kind not in CONVERSIONS]
    common: list[str] = []
    for words in zip(*paths, strict=False):
        if len(set(words)) > 1:
            break
        common.append(words[0])
    return common


def _path(graph: Graph, order: int) -> list[str]:
    """The scopes of the first tensor that an operator writes, without those that a converter made up."""
    outputs = graph.ops[order].outputs
    name = graph.tensors[outputs[0]].name.split(";")[0] if outputs else ""
    made_up = name.startswith(MADE_UP) or "/tf." in name
    return [] if made_up else name.split("/")[:-1]
