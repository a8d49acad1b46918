"""A one-to-one pairing of two dataflows that grows along their edges.

No two pairs may cross: what runs before an operator never gets a partner that runs after its partner. A pair is made
only where the graph leaves one choice, or, at last, where both lie between the same pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator

import numpy as np

from qviz.analysis.dataflow import FUSIBLE, SYMMETRIC, Edges, Flow, agree

REACH = 6
"""Unpaired operators to look past for paired ones: an activation written out takes two to five."""


class Alignment:
    """A growing one-to-one pairing of two flows. refuted (n, m) bool: pairs that other evidence speaks against."""

    def __init__(self, reference: Flow, variant: Flow, refuted: np.ndarray | None = None) -> None:
        self.reference, self.variant = reference, variant
        self.partner: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self._refuted = refuted
        self._fresh: list[tuple[int, int]] = []

    def possible(self, i: int, j: int) -> bool:
        if i in self.partner or j in self._taken or not agree(self.reference, i, self.variant, j):
            return False
        return (self._refuted is None or not self._refuted[i, j]) and not self._crosses(i, j)

    def _crosses(self, i: int, j: int) -> bool:
        mine, theirs = list(self.partner), list(self._taken)
        first, second = self.reference.before, self.variant.before
        ahead = first[mine, i] & second[j, theirs]
        behind = first[i, mine] & second[theirs, j]
        return bool((ahead | behind).any())

    def add(self, pairs: Iterable[tuple[int, int]]) -> bool:
        """Make those of the pairs that are still possible; whether any was."""
        before = len(self.partner)
        for i, j in pairs:
            if self.possible(i, j):
                self.partner[i], self._taken[j] = j, i
                self._fresh.append((i, j))
        return len(self.partner) > before

    def grow(self) -> None:
        """Pair the neighbours of pairs, where the graph leaves one choice."""
        while self._fresh:
            i, j = self._fresh.pop(0)
            self.add(_only_choices(self._sources(self.reference, i), self._sources(self.variant, j)))
            self.add(_only_choices(self._readers(self.reference, i), self._readers(self.variant, j)))

    def _sources(self, flow: Flow, number: int) -> Iterator[tuple[Hashable, int]]:
        taken = self.partner if flow is self.reference else self._taken
        for slot, (source, output) in enumerate(flow.sources[number]):
            if source >= 0 and source not in taken:
                place = -1 if flow.role[number] in SYMMETRIC else slot
                yield (place, output, flow.role[source], flow.size[source]), source

    def _readers(self, flow: Flow, number: int) -> Iterator[tuple[Hashable, int]]:
        taken = self.partner if flow is self.reference else self._taken
        for reader, slot in flow.readers[number]:
            if reader not in taken:
                place = -1 if flow.role[reader] in SYMMETRIC else slot
                output = flow.sources[reader][slot][1]
                yield (place, output, flow.role[reader], flow.size[reader]), reader

    def fill(self) -> None:
        """Pair what lies between the same pairs, though something beside it has no partner."""
        open_pairs = [pair for pair in self._candidates() if self.possible(*pair)]
        while True:
            ranked = sorted((-value, i, j) for i, j, value in self._between(open_pairs))
            if not self.add(_clear(ranked)):
                return
            self.grow()

    def after_fused(self, i: int) -> int:
        """The reference's operator whose output is that of i's partner: the last that the variant fused into it."""
        readers = {reader for reader, _ in self.variant.readers[self.partner[i]]}
        last = i
        while (following := self._fusible_reader(last)) is not None:
            last = following
        met = {self.partner.get(reader) for reader, _ in self.reference.readers[last]}
        ends = self.reference.final[last] and self.variant.final[self.partner[i]]
        return last if ends or met & readers else i

    def _fusible_reader(self, number: int) -> int | None:
        """Its only reader, where that has no partner, nothing else to read, and a kind that converters fuse."""
        flow = self.reference
        if flow.final[number] or len(flow.readers[number]) != 1:
            return None
        reader = flow.readers[number][0][0]
        fusible = flow.role[reader] in FUSIBLE and len(flow.sources[reader]) == 1 and reader not in self.partner
        return reader if fusible and flow.size[reader] == flow.size[number] else None

    def _free(self, flow: Flow, taken: dict[int, int]) -> dict[int, tuple[set[int], set[int]]]:
        """Unpaired operator -> the nearest paired ones before and after it, named by the variant's numbers."""
        name = {i: (j if flow is self.reference else i) for i, j in taken.items()}
        return {
            number: (_nearest(number, flow.sources, name), _nearest(number, flow.readers, name))
            for number in range(len(flow.ops))
            if number not in taken
        }

    def _candidates(self) -> Iterator[tuple[int, int]]:
        by_role: dict[str, list[int]] = defaultdict(list)
        for j, role in enumerate(self.variant.role):
            by_role[role].append(j)
        return ((i, j) for i, role in enumerate(self.reference.role) for j in by_role[role])

    def _between(self, candidates: list[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
        """The candidates that share at least half of the paired operators around them: (i, j, 1..2)."""
        left, right = self._free(self.reference, self.partner), self._free(self.variant, self._taken)
        for i, j in candidates:
            if i in left and j in right:
                value = sum(_overlap(mine, theirs) for mine, theirs in zip(left[i], right[j], strict=True))
                if value >= 1 and self.possible(i, j):
                    yield i, j, value


def _only_choices(
    mine: Iterable[tuple[Hashable, int]], theirs: Iterable[tuple[Hashable, int]]
) -> Iterator[tuple[int, int]]:
    """Pairs under a key that exactly one operator has on either side."""
    sides: tuple[dict[Hashable, set[int]], dict[Hashable, set[int]]] = (defaultdict(set), defaultdict(set))
    for side, found in zip(sides, (mine, theirs), strict=True):
        for key, number in found:
            side[key].add(number)
    for key, numbers in sides[0].items():
        others = sides[1].get(key, set())
        if len(numbers) == len(others) == 1:
            yield next(iter(numbers)), next(iter(others))


def _nearest(number: int, neighbours: Edges, name: dict[int, int]) -> set[int]:
    """Names of the paired operators next to one, past at most REACH unpaired ones."""
    found: set[int] = set()
    seen = {number}
    border = {number}
    for _ in range(REACH + 1):
        near = {other for at in border for other, _ in neighbours[at] if other >= 0} - seen
        found |= {name[other] for other in near if other in name}
        border = {other for other in near if other not in name}
        seen |= border
    return found


def _overlap(some: set[int], others: set[int]) -> float:
    """Jaccard's index, 0 for two empty sets: nothing in common proves nothing."""
    return len(some & others) / len(some | others) if some | others else 0.0


def _clear(ranked: list[tuple[float, int, int]]) -> list[tuple[int, int]]:
    """Of the best-ranked pairs those without a rival; the first one where all have rivals."""
    best = [(i, j) for value, i, j in ranked if value == ranked[0][0]]
    mine, theirs = Counter(i for i, _ in best), Counter(j for _, j in best)
    return [(i, j) for i, j in best if mine[i] == theirs[j] == 1] or best[:1]
