"""The order in which candidates of a rescue are tried, so that a good answer comes early and little is tried in vain.

1. Whole recipes, the smallest (or fastest) first; of each the plain one, then other ranges and algorithms, until one
   keeps the budget. What is larger (or slower by nature) than that one is not tried.
2. Recipes that failed and would be better, the least lossy first, with operators in float. *What if float* gives sets
   by rising cost and promise; the first that promises nearly all is built, then the search goes by halves between
   sets that fail and sets that keep the budget.
3. From the best set parts are left out while the budget is still kept: halves, quarters and so on of its units, those
   that cost much for the little they bring first.

Everything is decided by what was measured, so a search that begins again with the same journal takes the same way.

What a recipe offers a rescue: its versions as a whole, and its operators in float, set by set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from qviz.errors import Cancelled, QuantizeError, QvizError
from qviz.features.building import ALGORITHMS, METHODS, RECIPES, Options, check, recipe_of
from qviz.features.building.names import named_apart
from qviz.features.building.recipes import WEIGHTS_8
from qviz.features.rescuing.result import LATENCY, Candidate, Tried, best_of
from qviz.features.rescuing.sets import (
    LOOKED_AT,
    Ranked,
    Sets,
    bytes_of,
    float_sets,
    union,
    units_of,
    weights_of,
    work_of,
)
from qviz.features.rescuing.work import Workshop
from qviz.features.what_if.sets import Orders

NEARLY = 0.9
"""Share of what all operators in float bring, from which a set is built first."""


def fitting(workshop: Workshop, names: Sequence[str]) -> dict[str, list[Candidate]]:
    """recipe -> its versions without operators in float, the plain one first; recipes that do not fit are left out."""
    graph = named_apart(workshop.source.graph)
    found: dict[str, list[Candidate]] = {}
    for name in names:
        recipe = recipe_of(name)
        methods = METHODS if recipe.needs_calibration else METHODS[:1]
        versions = [Candidate(name, method=method) for method in methods]
        versions += [Candidate(name, algorithm) for algorithm in ALGORITHMS if algorithm != "minmax"]
        for candidate in versions:
            try:
                check(recipe, graph, Options(algorithm=candidate.algorithm))
            except QuantizeError:
                continue
            found.setdefault(name, []).append(candidate)
    return found


class Family:
    """One recipe with operators in float."""

    def __init__(self, workshop: Workshop, plain: Candidate) -> None:
        self.plain, self._workshop = plain, workshop
        self._recipe, self._graph = recipe_of(plain.recipe), self._workshop.source.graph
        self._units = units_of(self._graph, self._recipe)
        self._sets = self._workshop.sets(plain, self._look)

    def _look(self) -> Sets:
        shop = self._workshop
        model = shop.loaded(self.plain, shop.build(self.plain))
        images = shop.search.encoded(LOOKED_AT)
        return float_sets(shop.engine, shop.reference, model, images, self._units, self.cost, shop.on_step, shop.cancel)

    def cost(self, orders: Orders) -> float:
        if self._workshop.prefer == LATENCY:
            return work_of(self._graph, orders)
        return bytes_of(self._graph, self._recipe, orders)

    def affordable(self, room: float) -> list[Ranked]:
        """The front, as far as it costs less than `room`."""
        return [ranked for ranked in self._sets.front if ranked.cost < room]

    def filled(self, ranked: Ranked, room: float) -> Candidate:
        """The set and what else costs less, the most harmful for its cost first; something always stays quantized."""
        kept = frozenset(ranked.orders)
        for unit in reversed(list(self.by_worth())):
            more = kept | unit
            if self.cost(more) < min(room, self.cost(union(self._units))):
                kept = more
        return self.keeping(kept)

    def is_nearly_all(self, ranked: Ranked) -> bool:
        return ranked.quality >= self._sets.base + NEARLY * (self._sets.whole - self._sets.base)

    def by_worth(self) -> Iterator[Orders]:
        """Units, those first that cost most for what they bring."""
        harm = dict(self._sets.harm)
        yield from sorted(self._units, key=lambda unit: max(harm.get(min(unit), 0.0), 0.0) / max(self.cost(unit), 1.0))

    def keeping(self, orders: Orders) -> Candidate:
        return replace(self.plain, kept=tuple(sorted(orders)))

    def with_weights(self, orders: Orders) -> Orders:
        """Those of them that have weights."""
        ops = (self._graph.ops[order] for order in orders)
        return frozenset(op.order for op in ops if op.kind in WEIGHTS_8 and weights_of(self._graph, op) is not None)


TRIES = 60
THINNINGS = 10
BY_SPEED = (
    "int8", "dynamic_range", "dynamic_range_int4", "dynamic_range_int4_blockwise", "weight_only_int8", "float16",
    "weight_only_int4", "int16x8",
)  # fmt: skip
"""Recipes, the fastest on a CPU first: an order to try in, measured afterwards."""

Watch = Callable[[tuple[Tried, ...], Tried | None, bytes], object]


@dataclass(slots=True, eq=False)
class Search:
    """One search under way. watch: called after each candidate with all, the best of them and its file."""

    workshop: Workshop
    recipes: Sequence[str] = tuple(RECIPES)
    tries: int = TRIES
    watch: Watch | None = None
    tried: tuple[Tried, ...] = ()
    data: bytes = b""
    _files: dict[Candidate, bytes] = field(default_factory=dict)

    @property
    def best(self) -> Tried | None:
        return best_of(self.tried, self.workshop.prefer)

    def run(self) -> None:
        """Raises Cancelled, QuantizeError where nothing fits, WorkerError."""
        versions = fitting(self.workshop, self.recipes)
        if not versions:
            raise QuantizeError(f"No recipe fits this network; asked for: {', '.join(self.recipes)}.")
        self._whole(versions)
        self._files.clear()
        for row in self._failed():
            if self._promises(row):
                self._rescue(row.candidate)

    # ---- whole recipes -----------------------------------------------------------------------------------------

    def _whole(self, versions: dict[str, list[Candidate]]) -> None:
        for name in self._ordered(versions):
            if self._cannot_be_better(name, versions):
                return
            for candidate in versions[name]:
                if candidate.algorithm != "minmax" and self._is_broken(versions[name][0]):
                    continue
                if self._attempt(candidate, "recipe").within:
                    break

    def _is_broken(self, plain: Candidate) -> bool:
        """Half of everything is lost: more than another rounding of the weights brings back."""
        row = next((row for row in self.tried if row.candidate == plain), None)
        return row is not None and (row.search_loss or 0.0) > self.workshop.search.all_of(self.workshop.budget) / 2

    def _ordered(self, versions: dict[str, list[Candidate]]) -> list[str]:
        if self.workshop.prefer == LATENCY:
            return sorted(versions, key=BY_SPEED.index)
        for rows in versions.values():  # building takes a fraction of a second, measuring many
            try:
                self._files[rows[0]] = self.workshop.build(rows[0])
            except Cancelled:
                raise
            except QvizError:
                continue  # told when its turn comes
        return sorted(versions, key=lambda name: self._bytes(versions[name][0]))

    def _bytes(self, candidate: Candidate) -> float:
        return len(self._files[candidate]) if candidate in self._files else float("inf")

    def _cannot_be_better(self, name: str, versions: dict[str, list[Candidate]]) -> bool:
        best = self.best
        if best is None or not best.within:
            return False
        return self.workshop.prefer == LATENCY or self._bytes(versions[name][0]) >= best.bytes

    def _attempt(self, candidate: Candidate, found_by: str) -> Tried:
        """Once each; nothing new when all tries are used up."""
        known = next((row for row in self.tried if row.candidate == candidate), None)
        if known is not None:
            return known
        if len(self.tried) >= self.tries:
            return Tried(candidate, found_by, error="Not tried: the search has its number of tries.")
        before = self.best
        row = self.workshop.attempt(candidate, found_by, self._files.get(candidate))
        self.tried = (*self.tried, row)
        best = self.best
        if best is not None and (before is None or best.candidate != before.candidate):
            self.data = self._files.get(best.candidate) or self.workshop.build(best.candidate)
        if self.watch is not None:
            self.watch(self.tried, best, self.data)
        return row

    # ---- with operators in float -------------------------------------------------------------------------------

    def _failed(self) -> list[Tried]:
        """The least lossy version of each kind of recipe that failed: of the same bits errors are much the same."""
        least: dict[tuple[int, int | None], Tried] = {}
        for row in self.tried:
            recipe = recipe_of(row.candidate.recipe)
            kind = recipe.weight_bits, recipe.activation_bits
            known = row.search_loss is not None and recipe.weight_bits <= 8  # float16 with floats is no rescue
            if known and (kind not in least or _least_lossy(row) < _least_lossy(least[kind])):
                least[kind] = row
        return sorted((row for row in least.values() if not row.within), key=_least_lossy)

    def _promises(self, row: Tried) -> bool:
        """It would be better than the best one."""
        best = self.best
        if best is None or not best.within:
            return True
        if self.workshop.prefer == LATENCY:
            return (row.speed or 0.0) > (best.speed or 0.0)
        return row.bytes < best.bytes

    def _rescue(self, plain: Candidate) -> None:
        family, room = Family(self.workshop, plain), self._room(plain)
        front = family.affordable(room)
        row = self._bisected(family, front)
        if row is None and front:  # none suffices: as much more in float as stays smaller than the best one
            filled = self._attempt(family.filled(front[-1], room), "filled")
            row = filled if filled.within else None
        if row is not None:
            self._thinned(family, row)

    def _room(self, plain: Candidate) -> float:
        """Bytes that may be added to a recipe before the file is as large as the best one."""
        best = self.best
        if self.workshop.prefer == LATENCY or best is None or not best.within:
            return float("inf")
        return best.bytes - next(row.bytes for row in self.tried if row.candidate == plain)

    def _bisected(self, family: Family, front: Sequence[Ranked]) -> Tried | None:
        """The cheapest set of the front that keeps the budget, as far as a search by halves tells."""
        low, high, found = -1, len(front), None
        middle = next((i for i, ranked in enumerate(front) if family.is_nearly_all(ranked)), len(front) - 1)
        while low + 1 < high:
            row = self._attempt(replace(family.plain, kept=front[middle].orders), front[middle].kind)
            low, high, found = (low, middle, row) if row.within else (middle, high, found)
            middle = (low + high) // 2
        return found

    def _thinned(self, family: Family, row: Tried) -> None:
        left, kept = THINNINGS, [unit for unit in family.by_worth() if unit <= set(row.candidate.kept)]
        size = len(kept) // 2
        while size and left > 0:
            start = 0
            while start < len(kept) and left > 0:
                rest = kept[:start] + kept[start + size :]
                left -= 1
                if rest and self._attempt(family.keeping(union(rest)), "thinned").within:
                    kept = rest
                else:
                    start += size
            size //= 2
        if self.workshop.prefer != LATENCY:
            self._attempt(family.keeping(family.with_weights(union(kept))), "weights")


def _least_lossy(row: Tried) -> tuple[float, int]:
    return row.search_loss or 0.0, row.bytes
