"""What a recipe offers a rescue: its versions as a whole, and its operators in float, set by set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from qviz.analysis.float_sets import Orders
from qviz.analysis.rescue import LATENCY, Candidate
from qviz.analysis.rescue_sets import LOOKED_AT, Ranked, Sets, float_sets
from qviz.analysis.rescue_units import bytes_of, union, units_of, weights_of, work_of
from qviz.analysis.rescue_work import Workshop
from qviz.errors import QuantizeError
from qviz.quantize import ALGORITHMS, METHODS, Options, check, recipe_of
from qviz.quantize.names import named_apart
from qviz.quantize.recipes import WEIGHTS_8

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
