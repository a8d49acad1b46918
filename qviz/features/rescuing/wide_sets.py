"""Find few operators whose 16-bit activations bring back what an int8 file loses.

A unit is an operator with weights and the operators after it up to the next one with weights, as in `sets`. Each set is
really built, and its quality is measured on a few images (`Candidates.qualities`). The search goes from coarse to fine:

1. Nothing and everything in 16 bits are measured. If everything gains nearly nothing, activations are not the cause.
2. The core: of prefixes and suffixes of a sixteenth to a half of the network, and of eight parts, the smallest set
   with most of the largest gain.
3. With the core in 16 bits, the methods that compute the ranges of the other operators are ranked again, because the
   best one for int8 throughout may not be the best one here. Each set is tried with the best two.
4. The core is tried, and then larger sets up to a share of the operators: the core with its neighbours in the file, or
   with the units of slices (a sixteenth of the network) that gain quality in addition to it, whichever is better.
5. Of a set within the budget, halves, quarters and so on of the units are left out again (`fewer`).

Prefixes are included because later layers amplify an error of the first ones: on YOLOX-nano no single operator in 16
bits reveals this, and no window without the first convolution repairs it. Neighbours are preferred for the same reason:
where a 16-bit operator reads 8 bits, its input is as coarse as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from qviz.features.building.calibration import METHODS
from qviz.features.building.recipes import REWRITTEN, WIDE_KINDS, recipe_of
from qviz.features.rescuing.candidates import Candidates
from qviz.features.rescuing.result import Candidate
from qviz.features.rescuing.sets import units_of
from qviz.features.what_if.sets import Orders, thinned, union

MIN_GAIN = 0.02
"""Quality that 16 bits throughout must gain."""
CORE_SHARE = 0.8
"""Of the gain of the best coarse set: what the core has to reach."""
TOLERANCE = 0.01
"""Quality that a set may lose when units are left out."""
SHARES = (0.1, 0.15, 0.3, 0.5)
"""Of the operators: the size of the proposed sets. Larger ones are not proposed."""
MAX_METHODS = 2
"""Methods for ranges that each set is tried with."""
PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
PARTS, SLICES = 8, 16
MAX_THINNED = 12
"""Sets that are built to leave units out again."""
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

    def candidate(self, orders: Orders) -> Candidate:
        """The plain candidate with these operators in 16 bits."""
        return replace(self.plain, wide_operators=tuple(sorted(orders)))

    def proposals(self) -> Iterator[Candidate]:
        """Candidates in the order in which to try them: small sets first, none with nearly all operators.

        The recipe int16x8 covers those.
        """
        every = union(self._units)
        base, whole = self._qualities([frozenset(), every])
        if whole - base < MIN_GAIN:
            return
        core = self._core(base)
        methods = self._methods(core)
        self.plain = replace(self.plain, ranges=methods[0])
        sizes = [share * len(every) for share in SHARES if len(core) <= share * len(every)]
        ways = self._neighbours(core), self._by_gain(core)
        pairs = [[_grown(core, units, size) for units in ways] for size in sizes]
        grown = [orders for pair in pairs for orders in pair]
        qualities = dict(zip(grown, self._qualities(grown), strict=True))
        better = [max(pair, key=lambda orders: qualities[orders]) for pair in pairs]
        for orders in dict.fromkeys([core, *better] if sizes else []):
            yield from (replace(self.candidate(orders), ranges=method) for method in methods[:MAX_METHODS])

    def fewer(self, candidate: Candidate, is_enough: Callable[[Candidate], bool]) -> None:
        """Leave out units of a proposed candidate as long as its quality and then `is_enough` allow it."""
        orders = frozenset(candidate.wide_operators)
        self.plain = replace(self.plain, ranges=candidate.ranges)
        required = self._qualities([orders])[0] - TOLERANCE
        tries = MAX_THINNED

        def suffices(some: list[Orders]) -> bool:
            nonlocal tries
            tries -= 1
            fewer = union(some)
            return bool(some) and self._qualities([fewer])[0] >= required and is_enough(self.candidate(fewer))

        thinned([unit for unit in self._units if unit <= orders], suffices, lambda: tries > 0)

    def _methods(self, orders: Orders) -> list[str]:
        """The methods for ranges, sorted by the quality with these operators in 16 bits, the best first."""
        rows = [replace(self.candidate(orders), ranges=method) for method in METHODS]
        qualities = dict(zip(METHODS, self._candidates.qualities(rows), strict=True))
        return sorted(METHODS, key=lambda method: -qualities[method])

    def _core(self, base: float) -> Orders:
        """The smallest coarse set with most of the largest gain over `base`."""
        sizes = [max(1, round(share * len(self._units))) for share in PREFIXES]
        ends = [part for size in sizes for part in (self._units[:size], self._units[-size:])]
        coarse = list(dict.fromkeys([*map(union, ends), *self._parts(PARTS)]))
        qualities = dict(zip(coarse, self._qualities(coarse), strict=True))
        required = base + CORE_SHARE * (max(qualities.values()) - base)
        return min((orders for orders in coarse if qualities[orders] >= required), key=len)

    def _parts(self, count: int) -> list[Orders]:
        """The units, split into `count` parts of equal size."""
        ends = [round(part * len(self._units) / count) for part in range(count + 1)]
        return [union(self._units[first:last]) for first, last in pairwise(ends) if first < last]

    def _by_gain(self, core: Orders) -> list[Orders]:
        """The units of the slices that improve the quality in addition to the core, the largest gain first."""
        rest = [part for part in self._parts(SLICES) if not part <= core]
        qualities = dict(zip(rest, self._qualities([core | part for part in rest]), strict=True))
        base = self._qualities([core])[0]
        gaining = sorted((part for part in rest if qualities[part] > base), key=lambda part: -qualities[part])
        return [unit for part in gaining for unit in self._units if unit <= part]

    def _neighbours(self, core: Orders) -> list[Orders]:
        """The units outside the core, the nearest to it first; of two equally near ones, the one behind it."""
        inside = [number for number, unit in enumerate(self._units) if unit <= core]
        outside = [number for number, unit in enumerate(self._units) if not unit <= core]
        nearest = sorted(outside, key=lambda number: (min(abs(number - other) for other in inside), -number))
        return [self._units[number] for number in nearest]

    def _qualities(self, sets: Sequence[Orders]) -> list[float]:
        rows = [self.candidate(orders) for orders in sets]
        batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
        return [quality for batch in batches for quality in self._candidates.qualities(batch)]


def _grown(core: Orders, units: Sequence[Orders], size: float) -> Orders:
    """The core with as many of these units, the first ones first, as fit into a number of operators."""
    orders = core
    for unit in units:
        if len(orders | unit) <= size:
            orders |= unit
    return orders
