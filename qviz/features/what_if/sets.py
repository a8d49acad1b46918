"""Which sets of operators are worth trying in float, and how the smallest that suffice are found.

A set is a frozenset of orders (operators of the variant, from 0). The file's order is an order of execution, so a
prefix 0..k is all that can reach a point, a suffix k..n all that follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from qviz.structures import Graph

Orders = frozenset[int]
Reaches = Callable[[Orders], bool]

BLOCKS = 12
ENDS = 6
"""Prefixes, and suffixes, tried whatever the search does."""


def with_conversions(graph: Graph, orders: Orders) -> Orders:
    """The operators with the QUANTIZE before them and the DEQUANTIZE behind: a rebuilt file would not have these."""
    read = {tensor for order in orders for tensor in graph.ops[order].inputs}
    made = {tensor for order in orders for tensor in graph.ops[order].outputs}
    before = {op.order for op in graph.ops if op.kind == "QUANTIZE" and read & set(op.outputs)}
    behind = {op.order for op in graph.ops if op.kind == "DEQUANTIZE" and made & set(op.inputs)}
    return orders | before | behind


def blocks(graph: Graph) -> list[Orders]:
    """The operators in up to about `BLOCKS` stretches, cut where the whole network passes through one tensor."""
    count = len(graph.ops)
    longest = max(1, math.ceil(count / BLOCKS))
    cuts = [0]
    for point in (*_narrow(graph), count):
        while point - cuts[-1] > 2 * longest:  # no narrow point far and wide
            cuts.append(cuts[-1] + longest)
        if point - cuts[-1] >= longest or point == count:
            cuts.append(point)
    return [frozenset(range(first, last)) for first, last in pairwise(cuts) if first < last]


def _narrow(graph: Graph) -> list[int]:
    """Orders before which exactly one tensor is handed on, inputs of the graph and constants left out."""
    made = {tensor: op.order for op in graph.ops for tensor in op.outputs}
    last = {tensor: op.order for op in graph.ops for tensor in op.inputs if tensor in made}
    last |= dict.fromkeys((tensor for tensor in graph.outputs if tensor in made), len(graph.ops))
    change = [0] * (len(graph.ops) + 2)
    for tensor, end in last.items():
        if any(not source.constant for source in graph.op_inputs(graph.ops[made[tensor]])):
            change[made[tensor] + 1] += 1
            change[end + 1] -= 1
    held, points = 0, []
    for order in range(len(graph.ops)):
        held += change[order]
        if order and held == 1:
            points.append(order)
    return points


def ends(orders: Sequence[int]) -> tuple[list[Orders], list[Orders]]:
    """(prefixes, suffixes) of evenly growing length, neither empty nor whole."""
    cuts = sorted({round(len(orders) * part / (ENDS + 1)) for part in range(1, ENDS + 1)} - {0, len(orders)})
    return [frozenset(orders[:cut]) for cut in cuts], [frozenset(orders[cut:]) for cut in cuts]


def smallest(orders: Sequence[int], reaches: Reaches, trials: int) -> Orders:
    """A small set that reaches the goal, where all of `orders` do.

    The shorter of two stretches (shortest prefix less what its start does not need, shortest suffix less its end), from
    which halves, quarters and so on are left out while the rest still reaches. At most about `trials` sets are tried.
    """
    left = [trials]

    def tried(found: Sequence[int]) -> bool:
        left[0] -= 1
        return reaches(frozenset(found))

    front = _trimmed_start(_shortest_prefix(list(orders), tried), tried)
    back = list(reversed(_trimmed_start(_shortest_prefix(list(reversed(orders)), tried), tried)))
    return frozenset(_thinned(min(front, back, key=len), tried, left))


def _shortest_prefix(orders: list[int], reaches: Callable[[Sequence[int]], bool]) -> list[int]:
    low, high = 1, len(orders)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(orders[:middle]) else (middle + 1, high)
    return orders[:high]


def _trimmed_start(orders: list[int], reaches: Callable[[Sequence[int]], bool]) -> list[int]:
    low, high = 0, len(orders) - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if reaches(orders[middle:]) else (low, middle - 1)
    return orders[low:]


def _thinned(orders: list[int], reaches: Callable[[Sequence[int]], bool], left: list[int]) -> list[int]:
    size = len(orders) // 2
    while size and left[0] > 0:
        start = 0
        while start < len(orders) and left[0] > 0:
            rest = orders[:start] + orders[start + size :]
            if rest and reaches(rest):
                orders = rest
            else:
                start += size
        size //= 2
    return orders
