"""Which sets of operators to try in float, told by *what if float* on a variant that keeps nothing in float.

Each unit (see `rescue_units`) is measured twice: alone in float, which tells what it brings back where all else is
quantized, and alone quantized, which tells what it costs where all else is float. From both follow sets that grow
greedily; with stretches of the network they are measured too, and those stay that no cheaper set matches.

quality   mean of agreement and share of score (see `what_if`), in [0, 1]: of few images agreement alone is too coarse

What may stay float together, what it costs, and which sets of it are worth a look.

A unit is an operator with weights and what follows it in the file up to the next one (activation, addition, reshape):
the smallest part that makes sense in float. Where a recipe touches weights only, it is the operator with weights alone.
Costs are of a unit in float instead of quantized: bytes of its weights, or multiplications that run in float. Orders
are those of the float32 .tflite file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.engine import Blob
from qviz.features.building import Recipe
from qviz.features.building.recipes import WEIGHTS_8
from qviz.features.comparison.matching import Change
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if import Measure, Tally
from qviz.features.what_if.mixed import Counting
from qviz.features.what_if.sets import Orders, with_conversions
from qviz.structures import EncodedImage, Graph, Op, Settings, Tensor
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.tflite.paired_networks import paired_networks
from qviz.tflite.scheme import WITHOUT_INT8

WINDOWS = (2, 4, 8)
"""Units that follow one another, tried together: an error that gathers over several is explained by none alone."""

Units = Sequence[Orders]


def units_of(graph: Graph, recipe: Recipe) -> list[Orders]:
    """The units in the file's order; what is float anyway is in none."""
    with_weights = [op.order for op in graph.ops if op.kind in WEIGHTS_8 and weights_of(graph, op) is not None]
    if not recipe.needs_calibration:
        return [frozenset({order}) for order in with_weights]
    starts = sorted({0, *with_weights})
    ends = [*starts[1:], len(graph.ops)]
    whole = (range(first, last) for first, last in zip(starts, ends, strict=True))
    able = (frozenset(order for order in orders if _quantized(graph.ops[order])) for orders in whole)
    return [unit for unit in able if unit]


def _quantized(op: Op) -> bool:
    return not op.custom and op.kind not in WITHOUT_INT8


def weights_of(graph: Graph, op: Op) -> Tensor | None:
    """The second input where it is a constant."""
    index = op.inputs[1] if len(op.inputs) > 1 else None
    tensor = graph.tensors[index] if index is not None else None
    return tensor if tensor is not None and tensor.constant else None


def bytes_of(graph: Graph, recipe: Recipe, unit: Iterable[int]) -> float:
    """What the file grows by. Weights that several operators share count once."""
    found: dict[int, float] = {}
    for op in (graph.ops[order] for order in unit):
        weights = weights_of(graph, op) if op.kind in WEIGHTS_8 else None
        if weights is not None:
            bits = recipe.weight_bits if op.kind in recipe.kinds else 8
            found[weights.index] = math.prod(weights.shape) * (32 - bits) / 8
    return sum(found.values())


def work_of(graph: Graph, unit: Iterable[int]) -> float:
    """Multiplications and additions, roughly: of a convolution its weights for each place of its output."""
    total = 0.0
    for op in (graph.ops[order] for order in unit):
        made = list(graph.op_outputs(op))
        size = sum(math.prod(max(side, 1) for side in tensor.shape) for tensor in made)
        weights = weights_of(graph, op) if op.kind in WEIGHTS_8 else None
        if weights is None or not made or not made[0].shape:
            total += size
        else:
            total += size * math.prod(weights.shape) / max(made[0].shape[-1], 1)
    return total


def lengths(count: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 and so on below `count`: each step up is a third to a half more."""
    doubled = (1 << power for power in range(max(count, 1).bit_length()))
    return sorted({length for step in doubled for length in (step, step * 3 // 2) if length < count})


def stretches(units: Units) -> dict[str, list[Orders]]:
    """Units that follow one another: from the start, up to the end, and windows in between."""
    many = lengths(len(units))
    windows = [
        units[start : start + width]
        for width in WINDOWS
        for start in range(max(1, width // 2), len(units) - width, max(1, width // 2))
    ]
    return {
        "prefix": [union(units[:length]) for length in many],
        "suffix": [union(units[len(units) - length :]) for length in many],
        "window": [union(window) for window in windows],
    }


def greedy(gains: Mapping[Orders, float], costs: Mapping[Orders, float]) -> list[Orders]:
    """Sets that grow by the unit with the most gain for its cost; those that gain nothing are left out."""
    ranked = [unit for unit in sorted(gains, key=lambda unit: -gains[unit] / max(costs[unit], 1.0)) if gains[unit] > 0]
    return [union(islice(ranked, length)) for length in [*lengths(len(ranked)), len(ranked)] if length]


def union(units: Iterable[Orders]) -> Orders:
    """All operators of the units."""
    return frozenset(order for unit in units for order in unit)


SAMPLED_IMAGES = 24
"""Images among which those are sought that lost most."""
IMAGES = 6
"""Images that sets are measured on."""
AT_ONCE = 8
"""Sets measured before somebody may cancel."""
LEAST_GAIN = 0.02

Costs = Callable[[Orders], float]


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
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    units: Units,
    costs: Costs,
) -> Sets:
    """The sets of units worth building. Raises Cancelled, ImageError, ModelError, WorkerError."""
    looking = _Looking(context, reference, variant, images)
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
        context: Context,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
    ) -> None:
        counting = Counting(PAGE_SCORE, 0.5, CANDIDATE_FLOOR)
        self._measure = Measure(
            context.engine, reference, variant, images[:SAMPLED_IMAGES], counting, lambda done, total: None
        )
        self._graph = variant.inspection.graph
        self._back: dict[int, set[int]] = {}
        for order, other in context.engine.submit(partners_job, *self._measure.models).result().items():
            self._back.setdefault(other, set()).add(order)
        self._context = context
        context.progress.step("Finding layers worth keeping in float")
        self._measure([frozenset()])
        self._hurt = _most_hurt(self._measure)
        self.done = self.total = 0

    def qualities(self, sets: Sequence[Orders]) -> list[float]:
        """One a set, in their order."""
        found: list[float] = []
        for start in range(0, len(sets), AT_ONCE):
            self._context.check_cancelled()
            some = [self._in_variant(orders) for orders in sets[start : start + AT_ONCE]]
            found += [_quality(tally) for tally in self._measure(some, self._hurt)]
            self.done += len(some)
            self._context.progress.advance(self.done, max(self.total, self.done))
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
