"""Sets of operators to run in float: the sets to try, and searches for a small one.

A set is a frozenset of operator indices of the variant, from 0. A file lists its operators in the order of execution.
The prefix 0..k therefore contains every operator that can influence operator k, and the suffix k..n contains every
operator that operator k can influence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, pairwise
from typing import TypeVar

from qviz.features.layer_error.joins import same_scale_makers
from qviz.structures import Graph
from qviz.structures.graph import DATA_MOVERS

Orders = frozenset[int]
T = TypeVar("T")

MAX_BLOCKS = 12
CUTS = 6
"""Number of prefixes, and number of suffixes, that are measured in addition to the search."""
WINDOWS = (2, 4, 8)
"""Numbers of consecutive units that are tried together, because errors may accumulate over several units."""


def with_conversions(graph: Graph, orders: Orders) -> Orders:
    """The operators, and each QUANTIZE before and DEQUANTIZE after them, which a rebuilt file would not contain."""
    read = {tensor for order in orders for tensor in graph.ops[order].inputs}
    written = {tensor for order in orders for tensor in graph.ops[order].outputs}
    before = {op.order for op in graph.ops if op.kind == "QUANTIZE" and read & set(op.outputs)}
    behind = {op.order for op in graph.ops if op.kind == "DEQUANTIZE" and written & set(op.inputs)}
    return orders | before | behind


def with_readers(graph: Graph, order: int) -> Orders:
    """An operator and all operators that read its values, directly or through operators that only move them.

    Only if all of them run in float does the range of the operator's output have no effect.
    """
    orders, tensors = {order}, set(graph.ops[order].outputs)
    for op in graph.ops[order + 1 :]:
        if tensors.intersection(op.inputs):
            orders.add(op.order)
            if op.kind in DATA_MOVERS:
                tensors |= set(op.outputs)
    return frozenset(orders)


def with_join(graph: Graph, order: int) -> Orders:
    """A join, the operators that compute its parts with its scale, and the operators that read it."""
    return same_scale_makers(graph, graph.ops[order]) | with_readers(graph, order)


def blocks(graph: Graph) -> list[Orders]:
    """About `MAX_BLOCKS` stretches of operators, cut where the whole network passes through one tensor if possible."""
    count = len(graph.ops)
    longest = max(1, math.ceil(count / MAX_BLOCKS))
    cuts = [0]
    for point in (*_narrow(graph), count):
        while point - cuts[-1] > 2 * longest:  # the next narrow point is too far away
            cuts.append(cuts[-1] + longest)
        if point - cuts[-1] >= longest or point == count:
            cuts.append(point)
    return [frozenset(range(first, last)) for first, last in pairwise(cuts) if first < last]


def _narrow(graph: Graph) -> list[int]:
    """Operators before which exactly one tensor is still needed; graph inputs and constants do not count."""
    producer = {tensor: op.order for op in graph.ops for tensor in op.outputs}
    last = {tensor: op.order for op in graph.ops for tensor in op.inputs if tensor in producer}
    last |= dict.fromkeys((tensor for tensor in graph.outputs if tensor in producer), len(graph.ops))
    change = [0] * (len(graph.ops) + 2)
    for tensor, end in last.items():
        if any(not source.constant for source in graph.op_inputs(graph.ops[producer[tensor]])):
            change[producer[tensor] + 1] += 1
            change[end + 1] -= 1
    live, points = 0, []
    for order in range(len(graph.ops)):
        live += change[order]
        if order and live == 1:
            points.append(order)
    return points


def ends(orders: Sequence[int]) -> tuple[list[Orders], list[Orders]]:
    """(prefixes, suffixes) with lengths in even steps, without the empty set and the whole set."""
    cuts = sorted({round(len(orders) * part / (CUTS + 1)) for part in range(1, CUTS + 1)} - {0, len(orders)})
    return [frozenset(orders[:cut]) for cut in cuts], [frozenset(orders[cut:]) for cut in cuts]


def union(units: Iterable[Orders]) -> Orders:
    """All operators of the units."""
    return frozenset(order for unit in units for order in unit)


def lengths(count: int) -> list[int]:
    """The numbers 1, 2, 3, 4, 6, 8, 12, 16, ... below `count`."""
    doubled = (1 << power for power in range(max(count, 1).bit_length()))
    return sorted({length for step in doubled for length in (step, step * 3 // 2) if length < count})


def stretches(units: Sequence[Orders]) -> dict[str, list[Orders]]:
    """Kind -> sets of consecutive units: prefixes, suffixes and windows."""
    sizes = lengths(len(units))
    windows = [
        units[start : start + width]
        for width in WINDOWS
        for start in range(max(1, width // 2), len(units) - width, max(1, width // 2))
    ]
    return {
        "prefix": [union(units[:length]) for length in sizes],
        "suffix": [union(units[len(units) - length :]) for length in sizes],
        "window": [union(window) for window in windows],
    }


def greedy(gains: Mapping[Orders, float], costs: Mapping[Orders, float]) -> list[Orders]:
    """Sets of growing size, made by adding units in the order of descending gain per cost. Units without gain are left
    out."""
    ranked = [unit for unit in sorted(gains, key=lambda unit: -gains[unit] / max(costs[unit], 1.0)) if gains[unit] > 0]
    return [union(islice(ranked, length)) for length in [*lengths(len(ranked)), len(ranked)] if length]


def pareto_front(
    rows: Iterable[T], cost: Callable[[T], float], quality: Callable[[T], float], minimum: float
) -> tuple[T, ...]:
    """The Pareto front of cost and quality, sorted by cost.

    A row is on the front if its quality is above `minimum` and no row of equal or lower cost has as much quality.
    """
    front: list[T] = []
    for row in sorted(rows, key=lambda row: (cost(row), -quality(row))):
        if quality(row) > (quality(front[-1]) if front else minimum):
            front.append(row)
    return tuple(front)


def smallest(orders: Sequence[int], reaches: Callable[[Orders], bool], trials: int) -> Orders:
    """A small subset of `orders` that reaches a goal, given that all of them together do.

    Bisection finds the shortest prefix that reaches the goal, and then removes operators from its start that are not
    needed. The same is done from the other end, until it is clear that the result will not be shorter. The shorter of
    the two results is thinned out (see `thinned`). About `trials` sets are tried at most.
    """
    left = trials

    def attempt(subset: Sequence[int]) -> bool:
        nonlocal left
        left -= bool(subset)
        return bool(subset) and reaches(frozenset(subset))

    front = _without_start(_shortest_prefix(list(orders), attempt), attempt)
    back = list(reversed(_without_start(_shortest_prefix(list(reversed(orders)), attempt), attempt, len(front))))
    return frozenset(thinned(min(front, back, key=len), attempt, lambda: left > 0))


def shortest(orders: Sequence[int], reaches: Callable[[Orders], bool], from_end: bool = False) -> list[int]:
    """A short run of consecutive items of `orders` that reaches a goal, given that all of them together do.

    Both ends of the run are found by bisection: first its end, or first its start if `from_end`.
    """

    def attempt(part: Sequence[int]) -> bool:
        return reaches(frozenset(part))

    items = list(reversed(orders)) if from_end else list(orders)
    return sorted(_without_start(_shortest_prefix(items, attempt), attempt))


def _shortest_prefix(orders: list[int], reaches: Callable[[Sequence[int]], bool]) -> list[int]:
    low, high = 1, len(orders)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(orders[:middle]) else (middle + 1, high)
    return orders[:high]


def _without_start(orders: list[int], reaches: Callable[[Sequence[int]], bool], best: int | None = None) -> list[int]:
    """The orders without those at their start that are not needed. The search ends once `best` of them must stay."""
    low, high = 0, len(orders) - 1
    while low < high and (best is None or len(orders) - high < best):
        middle = (low + high + 1) // 2
        low, high = (middle, high) if reaches(orders[middle:]) else (low, middle - 1)
    return orders[low:]


def thinned(parts: list[T], suffices: Callable[[list[T]], bool], may_continue: Callable[[], bool]) -> list[T]:
    """Leave out halves, quarters and so on of the parts, as long as the remaining parts suffice. Returns these.

    Args:
        suffices: Returns whether some parts are enough; also called with an empty list.
        may_continue: Returns whether another set may be tried.
    """
    size = len(parts) // 2
    while size and may_continue():
        start = 0
        while start < len(parts) and may_continue():
            rest = parts[:start] + parts[start + size :]
            if suffices(rest):
                parts = rest
            else:
                start += size
        size //= 2
    return parts
