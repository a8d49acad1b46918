"""Where the nodes and edges of a directed graph without cycles are drawn: rows downwards, lanes to the right.

row    depth: the longest path from an input, in edges
lane   0 for the trunk, which is the longest path through the graph; any other node goes on in the lane of the node
       that it reads, or takes the leftmost lane that is free in its row
edge   straight within a lane where nothing stands between, square where it goes one row down into another lane; one
       that skips up to `NEAR` rows of its lane passes on the left; any other runs over a bus, a vertical line to the
       right of all lanes, one for each node that such edges lead to. Between two rows, lines to a bus run above those
       to other lanes, and lines from a bus below them
Nodes are numbered from 0 in an order in which every edge leads upwards in number. Units: one row, one lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
"""(lane, row)"""

BUS = 0.06
"""From one bus to the next, in lanes."""
NEAR = 14
LEFT = 0.06
"""How far to the left of its lane a short skip passes."""
TO_BUS, ACROSS, FROM_BUS = 0.3, 0.5, 0.7
"""Where lines run between two rows."""


@dataclass(frozen=True, slots=True)
class Layout:
    """positions: (lane, row) of each node; routes: the corners of each edge; lanes: how many there are."""

    positions: tuple[tuple[int, int], ...]
    routes: tuple[tuple[Point, ...], ...]
    lanes: int
    buses: int


def lay_out(count: int, edges: Sequence[tuple[int, int]]) -> Layout:
    """Positions of `count` nodes and routes of their edges."""
    before: list[list[int]] = [[] for _ in range(count)]
    for first, second in edges:
        if not 0 <= first < second < count:
            raise ValueError(f"edge {(first, second)} does not lead upwards among {count} nodes")
        before[second].append(first)
    rows = [0] * count
    for node in range(count):
        rows[node] = max((rows[other] + 1 for other in before[node]), default=0)
    lanes = _lanes(rows, before)
    positions = tuple(zip(lanes, rows, strict=True))
    last = max(lanes, default=0)
    routes, buses = _routes(positions, edges, last)
    return Layout(positions, routes, last + 1, buses)


def _trunk(rows: Sequence[int], before: Sequence[Sequence[int]]) -> set[int]:
    """The nodes of one longest path."""
    if not rows:
        return set()
    node = max(range(len(rows)), key=lambda i: rows[i])
    found = {node}
    while before[node]:
        node = max(before[node], key=lambda i: rows[i])
        found.add(node)
    return found


def _lanes(rows: Sequence[int], before: Sequence[Sequence[int]]) -> list[int]:
    trunk = _trunk(rows, before)
    lanes = [0] * len(rows)
    taken = {(0, rows[node]) for node in trunk}
    for node in sorted(set(range(len(rows))) - trunk, key=lambda i: (rows[i], i)):
        above = [lanes[other] for other in before[node] if other not in trunk and rows[other] == rows[node] - 1]
        wanted = [lane for lane in above if (lane, rows[node]) not in taken]
        lane = wanted[0] if wanted else next(i for i in range(1, len(rows) + 1) if (i, rows[node]) not in taken)
        lanes[node] = lane
        taken.add((lane, rows[node]))
    return lanes


def _routes(
    positions: Sequence[tuple[int, int]], edges: Sequence[tuple[int, int]], last: int
) -> tuple[tuple[tuple[Point, ...], ...], int]:
    """The corners of each edge, and how many buses they need."""
    held = set(positions)
    buses: dict[int, float] = {}
    found: list[tuple[Point, ...]] = []
    for first, second in edges:
        (lane, row), (goal, end) = positions[first], positions[second]
        if lane == goal and not any((lane, r) in held for r in range(row + 1, end)):
            found.append(((lane, row), (goal, end)))
        elif end - row == 1:
            found.append(((lane, row), (lane, row + ACROSS), (goal, row + ACROSS), (goal, end)))
        else:
            skip = lane == goal and end - row <= NEAR
            x = lane - LEFT if skip else buses.setdefault(second, last + 1 + BUS * len(buses))
            out, back = row + TO_BUS, end - 1 + FROM_BUS
            found.append(((lane, row), (lane, out), (x, out), (x, back), (goal, back), (goal, end)))
    return tuple(found), len(buses)
