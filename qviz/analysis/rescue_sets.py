"""Which sets of operators to try in float, told by *what if float* on a variant that keeps nothing in float.

Each unit (see `rescue_units`) is measured twice: alone in float, which tells what it brings back where all else is
quantized, and alone quantized, which tells what it costs where all else is float. From both follow sets that grow
greedily; with stretches of the network they are measured too, and those stay that no cheaper set matches.

quality   mean of agreement and share of score (see `what_if`), in [0, 1]: of few images agreement alone is too coarse
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from qviz.analysis.changes import Change
from qviz.analysis.float_sets import Orders, with_conversions
from qviz.analysis.measured_sets import Measure, Tally
from qviz.analysis.mixed_detections import Counting
from qviz.analysis.models import LoadedModel
from qviz.analysis.paired_networks import paired_networks
from qviz.analysis.rescue_units import Units, greedy, stretches, union
from qviz.detector import PAGE_SCORE
from qviz.engine import Blob, Engine
from qviz.errors import Cancelled
from qviz.structures import EncodedImage, Settings
from qviz.structures.detections import CANDIDATE_FLOOR

LOOKED_AT = 24
"""Images among which those are sought that lost most."""
IMAGES = 6
"""Images that sets are measured on."""
AT_ONCE = 8
"""Sets measured before somebody may cancel."""
LEAST_GAIN = 0.02

Costs = Callable[[Orders], float]
OnStep = Callable[[str, int, int], None]
"""(what is done, how much of it, out of how much)"""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A set worth building: what it costs, and the quality that is expected of it."""

    orders: tuple[int, ...]
    kind: str
    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Sets:
    """front: by cost; base, whole: quality with nothing and with all in float; harm: a unit's first order -> what it
    costs in quality where it alone is quantized."""

    front: tuple[Ranked, ...] = ()
    base: float = 0.0
    whole: float = 0.0
    harm: tuple[tuple[int, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        front = [[list(row.orders), row.kind, row.cost, row.quality] for row in self.front]
        return {"front": front, "base": self.base, "whole": self.whole, "harm": [list(row) for row in self.harm]}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Sets:
        """Raises KeyError, TypeError or ValueError where it is something else."""
        front = tuple(Ranked(tuple(map(int, o)), str(k), float(c), float(q)) for o, k, c, q in said["front"])
        harm = tuple((int(order), float(value)) for order, value in said["harm"])
        return cls(front, float(said["base"]), float(said["whole"]), harm)


def partners_job(reference: Blob, variant: Blob, settings: tuple[Settings, Settings]) -> dict[int, int]:
    """In a worker: the variant's operators -> the reference's."""
    pairs = paired_networks(reference, variant, settings).pairs.pairs
    return {pair.order: pair.reference_order for pair in pairs}


def float_sets(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    units: Units,
    costs: Costs,
    on_step: OnStep,
    cancel: threading.Event | None = None,
) -> Sets:
    """The sets of units worth building. Raises Cancelled, ImageError, ModelError, WorkerError."""
    looking = _Looking(engine, reference, variant, images, on_step, cancel)
    every = union(units)
    base, whole = looking.qualities([frozenset(), every])
    if whole - base < LEAST_GAIN:
        return Sets(base=base, whole=whole)
    looking.total = 4 * len(units)
    alone = dict(zip(units, looking.qualities(units), strict=True))
    without = dict(zip(units, looking.qualities([every - unit for unit in units]), strict=True))
    price = {unit: costs(unit) for unit in units}
    gains = {unit: value - base for unit, value in alone.items()}
    harms = {unit: whole - value for unit, value in without.items()}
    both = {unit: max(gains[unit], 0.0) + max(harms[unit], 0.0) for unit in units}
    kinds = stretches(units) | {"greedy": [s for gain in (gains, harms, both) for s in greedy(gain, price)]}
    named = {orders: kind for kind, sets in kinds.items() for orders in sets}
    found = [Ranked(tuple(sorted(unit)), "layer", price[unit], alone[unit]) for unit in units]
    for (orders, kind), quality in zip(named.items(), looking.qualities(list(named)), strict=True):
        found.append(Ranked(tuple(sorted(orders)), kind, costs(orders), quality))
    harm = tuple((min(unit), harms[unit]) for unit in units)
    return Sets(_front(found, base), base, whole, harm)


def _front(rows: Sequence[Ranked], base: float) -> tuple[Ranked, ...]:
    """Those that promise more than all that cost as much or less."""
    front: list[Ranked] = []
    for row in sorted(rows, key=lambda row: (row.cost, -row.quality, len(row.orders))):
        if row.quality > (front[-1].quality if front else base):
            front.append(row)
    return tuple(front)


class _Looking:
    """Measures sets of the reference's operators on the variant. total: how many it will be, as far as is known."""

    def __init__(
        self,
        engine: Engine,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
        on_step: OnStep,
        cancel: threading.Event | None,
    ) -> None:
        counting = Counting(PAGE_SCORE, 0.5, CANDIDATE_FLOOR)
        self._measure = Measure(engine, reference, variant, images[:LOOKED_AT], counting, lambda done, total: None)
        self._graph = variant.inspection.graph
        self._back: dict[int, set[int]] = {}
        for order, other in engine.submit(partners_job, *self._measure.models).result().items():
            self._back.setdefault(other, set()).add(order)
        self._on_step, self._cancel = on_step, cancel
        self._measure([frozenset()])
        self._hurt = _most_hurt(self._measure)
        self.done = self.total = 0

    def qualities(self, sets: Sequence[Orders]) -> list[float]:
        """One a set, in their order."""
        found: list[float] = []
        for start in range(0, len(sets), AT_ONCE):
            if self._cancel is not None and self._cancel.is_set():
                raise Cancelled("The work was stopped before it was done.")
            some = [self._in_variant(orders) for orders in sets[start : start + AT_ONCE]]
            found += [_quality(tally) for tally in self._measure(some, self._hurt)]
            self.done += len(some)
            self._on_step("Looking which layers in float would help", self.done, max(self.total, self.done))
        return found

    def _in_variant(self, orders: Orders) -> Orders:
        """With the conversions that a rebuilt file would not have."""
        own = frozenset(other for order in orders for other in self._back.get(order, ()))
        return with_conversions(self._graph, own)


def _quality(tally: Tally) -> float:
    return tally.agreement if tally.score_share is None else (tally.agreement + tally.score_share) / 2


def _most_hurt(measure: Measure) -> list[EncodedImage]:
    def damage(image: EncodedImage) -> float:
        outcome = measure.outcome(frozenset(), image)
        lost = sum(kind not in (Change.KEPT, Change.SHIFTED) for kind in outcome.kinds)
        return lost + sum(1 - share for share in outcome.shares)

    return sorted(measure.images, key=lambda image: -damage(image))[:IMAGES]
