"""Find few operators whose 16-bit activations bring back what an int8 file loses.

A unit is an operator with weights and the operators after it up to the next one with weights, as in `sets`. Each set is
really built, and its quality is measured on a few images (`Candidates.qualities`). The search goes from coarse to fine:

1. Nothing and everything in 16 bits. If everything in 16 bits gains nearly nothing, activations are not the cause.
2. Prefixes and suffixes of the network of a sixteenth to a half, and each of eight parts. The cheapest set with nearly
   all of the quality is used; if there is none, parts are joined, those that gain most first.
3. With that set in 16 bits, the method that computes the ranges of the others is chosen anew: the best one for int8
   throughout need not be the best one here.
4. Halves, quarters and so on of the set's units are left out again while nearly all of the quality stays.

Prefixes are there because an error of the first layers is amplified by those behind them: on YOLOX-nano no single
operator shows it, and no window that leaves out the first convolution cures it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
SHARES = (0.75, 0.9, 0.97)
"""Of the quality gained with 16 bits throughout: what a set has to reach. The next is for sets that fail the first."""
MAX_SHARE = 0.5
"""Of the operators: sets with more are not proposed."""
PARTS = 8
PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
MAX_THINNED = 12
"""Sets that are built to leave units out again."""
BATCH = 4


class WideSets:
    """Sets of operators in 16 bits for one int8 candidate, the first that should be tried first."""

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
        """Candidates in the order of trying: small sets first, none of nearly everything (recipe int16x8 is that)."""
        base, whole = self._qualities([frozenset(), union(self._units)])
        if whole - base < MIN_GAIN:
            return
        for share in SHARES:
            target = base + share * (whole - base)
            units = self._sufficient(target)
            if len(union(units)) > MAX_SHARE * len(union(self._units)):
                return
            self._choose_ranges(units)
            yield self.candidate(union(self._thinned(units, target)))
            yield self.candidate(union(units))

    def _choose_ranges(self, units: list[Orders]) -> None:
        """Continue with the method of the best quality with these units in 16 bits."""
        rows = [replace(self.candidate(union(units)), ranges=method) for method in METHODS]
        qualities = dict(zip(rows, self._candidates.qualities(rows), strict=True))
        self.plain = replace(self.plain, ranges=max(rows, key=lambda row: qualities[row]).ranges)

    def _sufficient(self, target: float) -> list[Orders]:
        """The units of the smallest coarse set with this quality."""
        coarse = self._coarse()
        qualities = self._qualities([union(units) for units in coarse])
        enough = [units for units, quality in zip(coarse, qualities, strict=True) if quality >= target]
        if enough:
            return min(enough, key=lambda units: len(union(units)))
        ranked = sorted(zip(qualities, range(len(coarse)), strict=True), key=lambda row: (-row[0], len(coarse[row[1]])))
        joined: list[Orders] = []
        for _, number in ranked:
            joined = [unit for unit in self._units if unit in joined or unit in coarse[number]]
            if len(joined) == len(self._units) or self._qualities([union(joined)])[0] >= target:
                break
        return joined

    def _coarse(self) -> list[list[Orders]]:
        """Prefixes, suffixes and parts, each once."""
        count = len(self._units)
        sizes = sorted({max(1, round(share * count)) for share in PREFIXES})
        ends = [round(part * count / PARTS) for part in range(PARTS + 1)]
        sets = [self._units[:size] for size in sizes] + [self._units[-size:] for size in sizes]
        sets += [self._units[first:last] for first, last in pairwise(ends) if first < last]
        return [units for number, units in enumerate(sets) if units not in sets[:number]]

    def _thinned(self, units: list[Orders], target: float) -> list[Orders]:
        """The units without those that the quality does not need."""
        tries = MAX_THINNED

        def suffices(some: list[Orders]) -> bool:
            nonlocal tries
            tries -= 1
            return bool(some) and self._qualities([union(some)])[0] >= target

        return thinned(units, suffices, lambda: tries > 0)

    def _qualities(self, sets: Sequence[Orders]) -> list[float]:
        rows = [self.candidate(orders) for orders in sets]
        batches = (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))
        return [quality for batch in batches for quality in self._candidates.qualities(batch)]
