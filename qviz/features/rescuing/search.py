"""The search of a rescue: the candidates and the order in which they are tried. Good candidates come early.

1. Whole recipes, the smallest (or fastest) first. For each, the plain version is tried and then, until one is within
   the budget, those other methods and algorithms that have the best quality on a few images. If the best version
   exceeds the budget and is int8, it is tried with 16-bit activations for a few operators (`wide_sets`), which keeps
   integers throughout and adds a few hundred bytes. If that is not enough, its ranges, its algorithm and its cures
   (`building.cures`) are changed one at a time as long as the quality rises: moves are measured together, because
   their gains do not add up. Recipes that are larger (or expected to be slower) than one within the budget are not
   tried. If the budget limits the size or the 16-bit operators, quality decides among the files within these limits.
2. Recipes that exceeded the budget and would be smaller (or faster), the smallest loss first, with operators in float.
   *What if float* gives a Pareto front of sets by cost and expected quality. The first set with nearly all of the
   quality is built, then the search bisects between sets that exceed the budget and sets within it.
3. Parts of the best set are quantized again as long as the result stays within the budget: halves, quarters and so on
   of its units, starting with those that have the highest cost for the quality they add.

Every decision depends on measurements alone, so a search that continues with the same journal takes the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from operator import methodcaller

from qviz.errors import Cancelled, QuantizeError, QvizError
from qviz.features.building.calibration import DEFAULT_METHOD, METHODS
from qviz.features.building.conditions import check
from qviz.features.building.cures import CURES, check_cures
from qviz.features.building.recipes import ALGORITHMS, Options, recipe_of, weights_of
from qviz.features.building.split_head import split_head
from qviz.features.rescuing.candidates import Candidates
from qviz.features.rescuing.result import LATENCY, QUALITY, SIZE, Candidate, Contribution, Tried, best_of
from qviz.features.rescuing.sets import SAMPLED_IMAGES, Ranked, Sets, bytes_of, float_sets, units_of, work_of
from qviz.features.rescuing.wide_sets import WideSets
from qviz.features.what_if.sets import Orders, thinned, union

NEARLY_ALL = 0.9
"""The first set that is built has at least this share of the quality gained with all operators in float."""


def fitting(candidates: Candidates, names: Sequence[str]) -> dict[str, list[Candidate]]:
    """Recipe -> its candidates without operators in float, the plain one first, for recipes that fit the network."""
    versions: dict[str, list[Candidate]] = {}
    for name in names:
        recipe = recipe_of(name)
        methods = METHODS if recipe.activation_bits == 8 else (DEFAULT_METHOD,)  # 16-bit steps are fine for any range
        rows = [Candidate(name, ranges=method) for method in methods]
        rows += [Candidate(name, algorithm) for algorithm in ALGORITHMS if algorithm != "minmax"]
        for row in rows:
            try:
                check(recipe, candidates.source.graph, Options(algorithm=row.algorithm))
            except QuantizeError:
                continue
            versions.setdefault(name, []).append(row)
    return versions


class FloatSets:
    """One recipe with sets of operators in float."""

    def __init__(self, candidates: Candidates, plain: Candidate) -> None:
        self.plain, self._candidates = plain, candidates
        self._recipe, self._graph = recipe_of(plain.recipe), candidates.source.graph
        self._units = units_of(self._graph, self._recipe)
        self._sets = candidates.sets(plain, self._find)

    def _find(self) -> Sets:
        candidates = self._candidates
        model = candidates.loaded(self.plain, candidates.build(self.plain))
        images = [image.encoded() for image in candidates.search.dataset.spread(SAMPLED_IMAGES).images]
        return float_sets(candidates.context, candidates.reference, model, images, self._units, self.cost)

    def cost(self, orders: Orders) -> float:
        """Bytes that a set adds to the file or, if latency is minimised, multiplications that run in float."""
        if self._candidates.prefer == LATENCY:
            return work_of(self._graph, orders)
        return bytes_of(self._graph, self._recipe, orders)

    def affordable(self, room: float) -> list[Ranked]:
        """The sets of the Pareto front that cost less than `room`."""
        return [ranked for ranked in self._sets.front if ranked.cost < room]

    def filled(self, ranked: Ranked, room: float) -> Candidate:
        """A candidate with the set and as many further units as fit into `room`; at least one unit stays quantized."""
        orders = frozenset(ranked.orders)
        for unit in reversed(list(self.by_worth())):
            more = orders | unit
            if self.cost(more) < min(room, self.cost(union(self._units))):
                orders = more
        return self.candidate(orders)

    def is_nearly_all(self, ranked: Ranked) -> bool:
        return ranked.quality >= self._sets.base + NEARLY_ALL * (self._sets.whole - self._sets.base)

    def by_worth(self) -> Iterator[Orders]:
        """The units, starting with those that have the highest cost for the quality they add."""
        harm = dict(self._sets.harm)
        yield from sorted(self._units, key=lambda unit: max(harm.get(min(unit), 0.0), 0.0) / max(self.cost(unit), 1.0))

    def candidate(self, orders: Orders) -> Candidate:
        """The recipe with these operators in float."""
        return replace(self.plain, float_operators=tuple(sorted(orders)))

    def with_weights(self, orders: Orders) -> Orders:
        """The operators among `orders` that have weights."""
        return frozenset(order for order in orders if weights_of(self._graph, self._graph.ops[order]) is not None)


MIN_MOVE_GAIN = 0.005
"""Minimum gain of quality, on all search images, with which a change of ranges, weights or biases is used."""
MAX_VERSIONS = 2
"""Maximum number of versions of a recipe, besides the plain one, that are measured on all search images."""
MAX_TRIES = 60
MAX_THINNINGS = 10

OnTried = Callable[[tuple[Tried, ...], Tried | None, bytes], object]
"""Called after each candidate with all candidates so far, the best of them and its file."""


@dataclass(slots=True, eq=False)
class Search:
    """One search for the best candidate.

    Attributes:
        candidates: Builds and measures candidates.
        recipes: Names of the recipes to try.
        tries: Maximum number of candidates.
        on_tried: Called after each candidate.
        tried: All candidates so far.
        data: The file of the best candidate.
    """

    candidates: Candidates
    recipes: Sequence[str]
    tries: int
    on_tried: OnTried
    tried: tuple[Tried, ...] = ()
    data: bytes = b""
    _files: dict[Candidate, bytes] = field(default_factory=dict)

    @property
    def best(self) -> Tried | None:
        moved = any(row.origin in ("wide", "improved") for row in self.tried)
        prefer = QUALITY if self._by_quality and moved else self.candidates.prefer
        return best_of(self.tried, prefer, self.candidates.budget.limit)

    @property
    def _by_quality(self) -> bool:
        """Whether the budget limits the files, so that the best one within these limits is chosen, not the smallest.

        A plain recipe within the budget ends the search before that.
        """
        return self.candidates.budget.limits_files and self.candidates.prefer == SIZE

    def run(self) -> None:
        """Try candidates until none is expected to be better.

        Raises Cancelled, WorkerError, and QuantizeError if no recipe fits the network.
        """
        versions = fitting(self.candidates, self.recipes)
        if not versions:
            raise QuantizeError(f"None of these recipes fits the network: {', '.join(self.recipes)}.")
        self._try_whole_recipes(versions)
        self._files.clear()
        for row in self._failed():
            if self._could_be_better(row) and not self.candidates.integers_only:
                self._try_float_sets(row.candidate)

    # ---- whole recipes -----------------------------------------------------------------------------------------

    def _try_whole_recipes(self, versions: dict[str, list[Candidate]]) -> None:
        for name in self._ordered(versions):
            if self._cannot_be_better(name, versions):
                return
            rows: list[Tried] = []
            for candidate in self._worth_measuring(versions[name]):
                rows.append(self._attempt(candidate, "recipe"))
                if rows[-1].within:
                    break
            else:
                self._try_moves([row for row in rows if row.search_loss is not None])

    def _worth_measuring(self, versions: list[Candidate]) -> Iterator[Candidate]:
        """The plain version of a recipe, then the few others that have the best quality on a few images."""
        yield versions[0]
        others = [row for row in versions[1:] if row.algorithm == "minmax" or not self._is_broken(versions[0])]
        if len(others) > MAX_VERSIONS:
            qualities = dict(zip(others, self.candidates.qualities(others), strict=True))
            others = sorted(others, key=lambda row: -qualities[row])[:MAX_VERSIONS]
        yield from others

    def _is_broken(self, plain: Candidate) -> bool:
        """Whether a plain recipe loses more than half of `max_loss`, which no other algorithm can repair."""
        row = next((row for row in self.tried if row.candidate == plain), None)
        return row is not None and (row.search_loss or 0.0) > self.candidates.max_loss / 2

    def _ordered(self, versions: dict[str, list[Candidate]]) -> list[str]:
        if self.candidates.prefer == LATENCY:
            return sorted(versions, key=lambda name: recipe_of(name).speed_rank)
        for rows in versions.values():  # building takes a fraction of a second, measuring takes many
            try:
                self._files[rows[0]] = self.candidates.build(rows[0])
            except Cancelled:
                raise
            except QvizError:
                continue  # reported when the candidate is tried
        return sorted(versions, key=lambda name: self._bytes(versions[name][0]))

    def _bytes(self, candidate: Candidate) -> float:
        return len(self._files[candidate]) if candidate in self._files else float("inf")

    def _cannot_be_better(self, name: str, versions: dict[str, list[Candidate]]) -> bool:
        best = self.best
        if best is None or not best.within:
            return False
        return self.candidates.prefer == LATENCY or self._bytes(versions[name][0]) >= best.bytes

    def contributions(self, best: Tried) -> tuple[Contribution, ...]:
        """The best candidate measured without each of its moves, sorted by falling loss."""
        rows = []
        for move in best.moves:
            row = self.candidates.attempt(best.candidate.without(move.code), "without")
            figures = row.search_loss, row.agreement, row.bytes, row.quality
            rows.append(Contribution(move.code, move.operators, *figures))
        return tuple(sorted(rows, key=lambda row: -(row.loss or 0.0)))

    def _attempt(self, candidate: Candidate, origin: str) -> Tried:
        """Try a candidate, unless it was tried before; after the maximum number of tries the result has an error."""
        earlier = next((row for row in self.tried if row.candidate == candidate), None)
        if earlier is not None:
            return earlier
        if len(self.tried) >= self.tries:
            return Tried(candidate, origin, error="Not tried: the maximum number of candidates is reached.")
        before = self.best
        row = self.candidates.attempt(candidate, origin, self._files.get(candidate))
        self.tried = (*self.tried, row)
        best = self.best
        if best is not None and (before is None or best.candidate != before.candidate):
            self.data = self._files.get(best.candidate) or self.candidates.build(best.candidate)
        self.on_tried(self.tried, best, self.data)
        return row

    # ---- moves that keep integers ------------------------------------------------------------------------------

    def _try_moves(self, rows: Sequence[Tried]) -> None:
        """Try the candidate with the smallest loss with 16-bit activations for some operators, and the best with more.

        If latency is minimised, 16-bit activations are left out, because their kernels are slow on a CPU.
        """
        plain = min(rows, key=_by_loss, default=None)
        if plain is None:
            return
        by_speed = self.candidates.prefer == LATENCY and not self.candidates.integers_only
        if recipe_of(plain.candidate.recipe).activation_bits == 8 and not by_speed:
            wide = self._try_wide(plain.candidate)
            if wide and (self._by_quality or not any(row.within for row in wide)):
                self._improve(max(wide, key=_by_quality) if self._by_quality else min(wide, key=_by_loss))
            if wide:
                return
        self._improve(plain)

    def _try_wide(self, plain: Candidate) -> list[Tried]:
        """Try sets of operators with 16-bit activations until one is within the budget; all if quality decides."""
        self.candidates.context.progress.step("Finding operators worth 16 bits")
        rows: list[Tried] = []
        for candidate in WideSets(self.candidates, plain).proposals():
            rows.append(self._attempt(candidate, "wide"))
            if rows[-1].within and not self._by_quality:
                break
        return [row for row in rows if row.search_loss is not None]

    def _improve(self, row: Tried) -> None:
        """Change one move at a time (ranges, algorithm, one more cure) as long as the quality rises.

        All changes are ranked on a few images. The best of them that the budget allows are measured on all search
        images, which decide.
        """
        changes = self._changes(row.candidate)
        while changes:
            self.candidates.context.progress.step("Changing ranges, weights and biases")
            current = row.candidate
            start, *qualities = self.candidates.qualities([current, *(change(current) for change in changes)])
            ranked = sorted(zip(qualities, changes, strict=True), key=lambda pair: -pair[0])
            helpful = [change for quality, change in ranked if quality > start]
            attempts = (self._attempt(change(current), "improved") for change in helpful)
            tried = list(islice((attempt for attempt in attempts if not attempt.error), MAX_VERSIONS))
            best = max(tried, key=_by_quality, default=row)
            if _by_quality(best) < _by_quality(row) + MIN_MOVE_GAIN:
                return
            row, changes = best, [change for change in helpful if change(best.candidate) != best.candidate]

    def _changes(self, candidate: Candidate) -> list[Callable[[Candidate], Candidate]]:
        """Functions that change one move of a candidate; only changes that fit its recipe, and that change it."""
        versions = fitting(self.candidates, [candidate.recipe])[candidate.recipe]
        changes: list[Callable[[Candidate], Candidate]] = [
            partial(replace, ranges=row.ranges)
            if row.algorithm == "minmax"
            else partial(replace, algorithm=row.algorithm)
            for row in versions
        ]
        changes += [methodcaller("with_cure", cure) for cure in CURES if self._cures_fit(candidate.with_cure(cure))]
        return [change for change in changes if change(candidate) != candidate]

    def _cures_fit(self, candidate: Candidate) -> bool:
        try:
            check_cures(candidate.cures, recipe_of(candidate.recipe), len(self.candidates.images))
            if "split_head" in candidate.cures:
                split_head(self.candidates.source.float_data)
        except QuantizeError:
            return False
        return True

    # ---- with operators in float -------------------------------------------------------------------------------

    def _failed(self) -> list[Tried]:
        """For each kind of recipe, the candidate with the smallest loss, if it is over the budget.

        Recipes with equal bits are one kind, because their errors are similar. Candidates with 16-bit activations are
        left out.
        """
        smallest: dict[tuple[int, int | None], Tried] = {}
        for row in self.tried:
            recipe = recipe_of(row.candidate.recipe)
            kind = recipe.weight_bits, recipe.activation_bits
            usable = row.search_loss is not None and recipe.weight_bits <= 8  # float16 with float parts gains nothing
            usable = usable and not row.candidate.wide_operators
            if usable and (kind not in smallest or _by_loss(row) < _by_loss(smallest[kind])):
                smallest[kind] = row
        return sorted((row for row in smallest.values() if not row.within), key=_by_loss)

    def _could_be_better(self, row: Tried) -> bool:
        """Whether a candidate is smaller (or faster) than the best one within the budget."""
        best = self.best
        if best is None or not best.within:
            return True
        if self.candidates.prefer == LATENCY:
            return (row.speed or 0.0) > (best.speed or 0.0)
        return row.bytes < best.bytes

    def _try_float_sets(self, plain: Candidate) -> None:
        sets, room = FloatSets(self.candidates, plain), self._room(plain)
        front = sets.affordable(room)
        row = self._bisect(sets, front)
        if row is None and front:  # none suffices: as much more in float as stays smaller than the best candidate
            filled = self._attempt(sets.filled(front[-1], room), "filled")
            row = filled if filled.within else None
        if row is not None:
            self._thin_out(sets, row)

    def _room(self, plain: Candidate) -> float:
        """Bytes by which a recipe may grow without exceeding the best file; infinite if latency is minimised."""
        best = self.best
        if self.candidates.prefer == LATENCY or best is None or not best.within:
            return float("inf")
        return best.bytes - next(row.bytes for row in self.tried if row.candidate == plain)

    def _bisect(self, sets: FloatSets, front: Sequence[Ranked]) -> Tried | None:
        """The cheapest set of the front within the budget, as far as bisection finds it."""
        low, high, cheapest = -1, len(front), None
        middle = next((i for i, ranked in enumerate(front) if sets.is_nearly_all(ranked)), len(front) - 1)
        while low + 1 < high:
            row = self._attempt(replace(sets.plain, float_operators=front[middle].orders), front[middle].kind)
            low, high, cheapest = (low, middle, row) if row.within else (middle, high, cheapest)
            middle = (low + high) // 2
        return cheapest

    def _thin_out(self, sets: FloatSets, row: Tried) -> None:
        """Quantize parts of the set again while the result stays within the budget."""
        tries = MAX_THINNINGS

        def is_within(units: list[Orders]) -> bool:
            nonlocal tries
            tries -= 1
            return bool(units) and self._attempt(sets.candidate(union(units)), "thinned").within

        units = [unit for unit in sets.by_worth() if unit <= set(row.candidate.float_operators)]
        units = thinned(units, is_within, lambda: tries > 0)
        if self.candidates.prefer != LATENCY:
            self._attempt(sets.candidate(sets.with_weights(union(units))), "weights")


def _by_quality(row: Tried) -> float:
    return row.quality or 0.0


def _by_loss(row: Tried) -> tuple[float, int]:
    return row.search_loss or 0.0, row.bytes
