"""Find few operators whose 16-bit activations bring back what an int8 file loses.

A unit is an operator with weights and the operators after it up to the next one with weights, as in `sets`. Each set is
really built, and its quality is measured on a few images (`Candidates.qualities`). This quality varies far less from
image to image than AP. AP is only used to choose among the few proposed sets. The search goes from coarse to fine:

1. Nothing and everything in 16 bits are measured. If everything gains nearly nothing, activations are not the cause.
2. The core is found: among prefixes, suffixes and eight parts, the smallest set with most of the largest gain. Units
   that it does not need are left out.
3. With the core in 16 bits, the methods that compute the ranges of the other operators are ranked again, because the
   best one for int8 throughout may not be the best one here.
4. The core grows up to a share of the operators, either by its neighbours in the file, or by slices (each is a
   thirty-second of the network). Slices are sorted by their gain per operator in addition to the core. Of all these
   sets, the smallest one with nearly all of the largest gain is proposed first.

Prefixes are included because later layers amplify an error of the first ones: on YOLOX-nano no single operator in 16
bits reveals this, and no window without the first convolution repairs it. Neighbours are tried for the same reason:
where a 16-bit operator reads 8 bits, its input is as coarse as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from qviz.features.building.calibration import METHODS
from qviz.features.building.recipes import REWRITTEN, WIDE_KINDS, recipe_of
from qviz.features.rescuing.candidates import Candidates
from qviz.features.rescuing.result import Candidate
from qviz.features.rescuing.sets import units_of
from qviz.features.what_if.sets import Orders, thinned, union

MIN_GAIN = 0.02
"""Minimum gain of quality with 16 bits throughout; if it is smaller, no set is proposed."""
CORE_SHARE = 0.8
"""Minimum gain of the core, as a share of the gain of the best coarse set."""
TOLERANCE = 0.01
"""Quality that the core may lose when units are left out."""
NEARLY_ALL = 0.9
"""Minimum gain of a proposed set, as a share of the gain of the best set."""
MIN_STEP = 0.005
"""A larger set is also proposed only if its quality exceeds that of a proposed smaller one by at least this."""
MAX_SHARE, MIN_ROOM = 0.15, 6
"""Maximum number of operators in a set: this share of all operators that can have 16 bits, but at least `MIN_ROOM`.
A limit of the budget replaces it.

Larger sets are left to the recipe int16x8.
"""
SIZES = (1 / 3, 1 / 2, 2 / 3, 1)
"""Sizes up to which the core grows, as shares of the largest set."""
PREFIXES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
PARTS, SLICES = 8, 32
MAX_THINNED = 12
"""Maximum number of sets that are built while units are left out of the core."""
BATCH = 4


class WideSets:
    """Sets of operators in 16 bits for one int8 candidate, in the order in which they should be tried."""

    def __init__(self, candidates: Candidates, plain: Candidate) -> None:
        self._candidates, self.plain = candidates, plain
        graph = candidates.source.graph
        able = {op.order for op in graph.ops if op.kind in WIDE_KINDS | REWRITTEN}
        units = (unit & able for unit in units_of(graph, recipe_of(plain.recipe)))
        in_float = set(plain.float_operators)
        self._units = [unit - in_float for unit in units if unit - in_float]
        limit = candidates.budget.max_wide
        self._room = max(MAX_SHARE * len(union(self._units)), MIN_ROOM) if limit is None else limit

    def candidate(self, orders: Orders) -> Candidate:
        """The plain candidate with these operators in 16 bits."""
        return replace(self.plain, wide_operators=tuple(sorted(orders)))

    def proposals(self) -> list[Candidate]:
        """Candidates in the order in which to try them: the smallest set that is nearly the best, then better ones."""
        base, whole = self._qualities([frozenset(), union(self._units)])
        if whole - base < MIN_GAIN:
            return []
        core = self._core(base)
        if not core:
            return []
        core = self._without_needless(core)
        self.plain = replace(self.plain, ranges=self._best_method(core))
        ways = self._neighbours(core), self._by_gain(core)
        grown = [_grown(core, units, share * self._room) for share in SIZES for units in ways]
        sets = sorted(dict.fromkeys([core, *grown]), key=len)
        qualities = dict(zip(sets, self._qualities(sets), strict=True))
        reached = base + NEARLY_ALL * (max(qualities.values()) - base) - MIN_STEP
        chosen: list[Candidate] = []
        for orders in sets:
            if qualities[orders] >= reached + MIN_STEP:
                chosen.append(self.candidate(orders))
                reached = qualities[orders]
        return chosen

    def _without_needless(self, core: Orders) -> Orders:
        """The core without units whose absence hardly lowers the quality."""
        required = self._qualities([core])[0] - TOLERANCE
        tries = MAX_THINNED

        def suffices(some: list[Orders]) -> bool:
            nonlocal tries
            tries -= 1
            return bool(some) and self._qualities([union(some)])[0] >= required

        return union(thinned([unit for unit in self._units if unit <= core], suffices, lambda: tries > 0))

    def _best_method(self, orders: Orders) -> str:
        """The method for ranges with the best quality if these operators have 16 bits."""
        rows = [replace(self.candidate(orders), ranges=method) for method in METHODS]
        qualities = dict(zip(METHODS, self._candidates.qualities(rows), strict=True))
        return max(METHODS, key=lambda method: qualities[method])

    def _core(self, base: float) -> Orders:
        """The smallest coarse set with most of the largest gain over `base`; empty if none gains."""
        sizes = [max(1, round(share * len(self._units))) for share in PREFIXES]
        ends = [part for size in sizes for part in (self._units[:size], self._units[-size:])]
        distinct = dict.fromkeys([*map(union, ends), *self._parts(PARTS)])
        coarse = [orders for orders in distinct if len(orders) <= self._room]
        qualities = dict(zip(coarse, self._qualities(coarse), strict=True))
        gain = max(qualities.values(), default=0.0) - base
        required = base + CORE_SHARE * gain
        enough = (orders for orders in coarse if gain > 0 and qualities[orders] >= required)
        return min(enough, key=len, default=frozenset())

    def _parts(self, count: int) -> list[Orders]:
        """The units, split into `count` parts of equal size."""
        ends = [round(part * len(self._units) / count) for part in range(count + 1)]
        return [union(self._units[first:last]) for first, last in pairwise(ends) if first < last]

    def _by_gain(self, core: Orders) -> list[Orders]:
        """The slices that improve the quality in addition to the core, the largest gain per operator first."""
        rest = [part - core for part in self._parts(SLICES) if not part <= core]
        base, *qualities = self._qualities([core, *(core | part for part in rest)])
        gains = {part: (quality - base) / len(part) for part, quality in zip(rest, qualities, strict=True)}
        return sorted((part for part in rest if gains[part] > 0), key=lambda part: -gains[part])

    def _neighbours(self, core: Orders) -> list[Orders]:
        """The units outside the core, the nearest first; of two equally near units, the one after the core."""
        inside = [number for number, unit in enumerate(self._units) if unit <= core]
        outside = [number for number, unit in enumerate(self._units) if not unit <= core]
        nearest = sorted(outside, key=lambda number: (min(abs(number - other) for other in inside), -number))
        return [self._units[number] for number in nearest]

    def _qualities(self, sets: Sequence[Orders]) -> list[float]:
        rows = [self.candidate(orders) for orders in sets]
        batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
        return [quality for batch in batches for quality in self._candidates.qualities(batch)]


def _grown(core: Orders, parts: Sequence[Orders], size: float) -> Orders:
    """The core with as many of these parts, in their order, as fit into `size` operators."""
    orders = core
    for part in parts:
        if len(orders | part) <= size:
            orders |= part
    return orders
