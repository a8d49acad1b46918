"""The few sets of operators that a verdict may name as the reason why a variant loses objects.

layer    each of the layers with the largest falls and of those with the lowest local SQNR, alone
range    a layer that clips values in a range that calibration chose, with the operators that read its output
join     a join whose scale is far too wide for one of its parts, with all operators that share the scale
prefix, suffix   the first and the last part of the network, because a single operator does not cause errors that
         accumulate
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.joins import JOINING, source_of
from qviz.features.layer_error.metrics import LayerError
from qviz.features.what_if.sets import Orders, with_conversions, with_join, with_readers
from qviz.structures import Graph
from qviz.structures.operators import operator_name, orders_text

LAYERS = 3
"""Number of layers chosen by each of the two criteria for `layer`."""
MIN_UNUSED = 0.75
"""A join is tried if at least this share of the range is unused by one of its parts, which wastes two bits."""
PREFIXES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
SUFFIXES = (1 / 16, 1 / 4)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set that may be named. subject: its name in a sentence, `operator 12 (CONV_2D)` or `operators 0-24`."""

    kind: str
    orders: Orders
    subject: str


def candidates(graph: Graph, errors: LayerErrors, possible: Orders) -> list[Candidate]:
    """The candidate sets of a variant, without duplicates and empty sets.

    Args:
        errors: Errors of the layers.
        possible: Operators that can run in float.
    """
    rows: dict[Orders, Candidate] = {}
    for kind, orders, subject in (*_layers(graph, errors.layers), *_ends(sorted(possible))):
        members = with_conversions(graph, orders) & possible
        if members and members != possible:
            rows.setdefault(members, Candidate(kind, members, subject))
    return list(rows.values())


def _layers(graph: Graph, layers: Sequence[LayerError]) -> Iterator[tuple[str, Orders, str]]:
    clipping = sorted((layer for layer in layers if layer.clips), key=lambda layer: -(layer.clipped_share or 0.0))
    for layer in clipping[:LAYERS]:
        yield "range", with_readers(graph, layer.order), layer.name
    names = {layer.order: layer.name for layer in layers}
    for order, orders in _wide_joins(graph, layers)[:LAYERS]:
        yield "join", orders, names.get(order, operator_name(order, graph.ops[order].kind))
    falls = sorted((layer for layer in layers if (layer.fall_db or 0.0) > 0), key=lambda layer: -(layer.fall_db or 0.0))
    local = [layer for layer in layers if layer.local_sqnr_db is not None]
    weak = sorted(local, key=lambda layer: layer.local_sqnr_db or 0.0)
    for layer in (*falls[:LAYERS], *weak[:LAYERS]):
        yield "layer", frozenset({layer.order}), layer.name


def _wide_joins(graph: Graph, layers: Sequence[LayerError]) -> list[tuple[int, Orders]]:
    """(index of a wide join, operators that share its scale), the last join first.

    A join is wide if the reference's values of one part leave most of the range unused, because another part needs it.
    Of several joins with the same scale, only the last one is listed.
    """
    unused = {layer.order: layer.unused_share or 0.0 for layer in layers}
    joins: list[tuple[int, Orders]] = []
    for join in reversed([op for op in graph.ops if op.kind in JOINING]):
        sources = [source_of(graph, index) for index in join.inputs if index is not None]
        makers = [maker for source in sources if (maker := graph.producer(source)) is not None]
        is_wide = any(unused.get(maker.order, 0.0) >= MIN_UNUSED for maker in makers)
        if is_wide and all(join.order not in orders for _, orders in joins):
            joins.append((join.order, with_join(graph, join.order)))
    return joins


def _ends(orders: Sequence[int]) -> Iterator[tuple[str, Orders, str]]:
    for part in PREFIXES:
        members = orders[: round(part * len(orders))]
        yield "prefix", frozenset(members), range_text(members)
    for part in SUFFIXES:
        members = orders[len(orders) - round(part * len(orders)) :]
        yield "suffix", frozenset(members), range_text(members)


def range_text(orders: Sequence[int]) -> str:
    """`operators 8-24`: the range from the first to the last of these operators; empty if there are none."""
    return f"operators {orders_text([*range(orders[0], orders[-1] + 1)])}" if orders else ""
