"""Find sets of operators worth keeping in float, with *what if float* on a variant without float operators.

A unit is the smallest part that is worth keeping in float: an operator with weights, with the operators after it in
the file (activation, addition, reshape) up to the next one with weights. If a recipe quantizes weights only, a unit is
just the operator with weights. The cost of a unit in float is counted in bytes of its weights, or in multiplications.
Operator indices are those of the float32 .tflite file.

Each unit is measured twice: as the only unit in float, which gives its gain, and as the only quantized unit, which
gives its harm. Two series of growing sets add the units in the order of gain and in the order of harm. Contiguous
stretches of units are measured as well. A set is dropped if another one is at least as good and costs no more.

quality   mean of agreement and share of score (see `what_if`), in [0, 1]: on few images agreement alone is too coarse
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.features.building.recipes import Recipe, weights_of
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if.measure import Measure, Tally
from qviz.features.what_if.outcomes import Matching
from qviz.features.what_if.sets import Orders, greedy, pareto_front, stretches, union, with_conversions
from qviz.structures import EncodedImage, Graph, Op
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.tflite.paired_networks import Pair, paired_networks
from qviz.tflite.scheme import WITHOUT_INT8


def units_of(graph: Graph, recipe: Recipe) -> list[Orders]:
    """The units in the order of the file, without operators that stay in float anyway."""
    with_weights = [op.order for op in graph.ops if weights_of(graph, op) is not None]
    if not recipe.needs_calibration:
        return [frozenset({order}) for order in with_weights]
    starts = sorted({0, *with_weights})
    ends = [*starts[1:], len(graph.ops)]
    whole = (range(first, last) for first, last in zip(starts, ends, strict=True))
    able = (frozenset(order for order in orders if _quantized(graph.ops[order])) for orders in whole)
    return [unit for unit in able if unit]


def _quantized(op: Op) -> bool:
    return not op.custom and op.kind not in WITHOUT_INT8


def bytes_of(graph: Graph, recipe: Recipe, unit: Iterable[int]) -> float:
    """Bytes by which the file grows if a unit is in float. Weights that several operators share count once."""
    sizes: dict[int, float] = {}
    for op in (graph.ops[order] for order in unit):
        weights = weights_of(graph, op)
        if weights is not None:
            bits = recipe.weight_bits if op.kind in recipe.kinds else 8
            sizes[weights.index] = math.prod(weights.shape) * (32 - bits) / 8
    return sum(sizes.values())


def work_of(graph: Graph, unit: Iterable[int]) -> float:
    """Approximate number of multiplications: for a convolution, the elements of its output times weights per output."""
    total = 0.0
    for op in (graph.ops[order] for order in unit):
        outputs = list(graph.op_outputs(op))
        size = sum(math.prod(max(side, 1) for side in tensor.shape) for tensor in outputs)
        weights = weights_of(graph, op)
        if weights is None or not outputs or not outputs[0].shape:
            total += size
        else:
            total += size * math.prod(weights.shape) / max(outputs[0].shape[-1], 1)
    return total


SAMPLED_IMAGES = 24
"""Number of images from which the most affected ones are chosen."""
MEASURED_IMAGES = 6
"""Number of images on which sets are measured. They are those of the sample that quantization affects most."""
BATCH = 8
"""Number of sets that are measured between two checks for cancellation."""
MIN_GAIN = 0.02


@dataclass(frozen=True, slots=True)
class Ranked:
    """A set worth building.

    Attributes:
        orders: Indices of its operators.
        kind: How the set was formed: `layer`, `prefix`, `suffix`, `window` or `greedy`.
        cost: Cost of the set in float, in bytes or multiplications.
        quality: Predicted quality, in [0, 1].
    """

    orders: tuple[int, ...]
    kind: str
    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Sets:
    """The result of the search for sets.

    Attributes:
        front: The Pareto front of cost and predicted quality, by rising cost.
        base: Quality if nothing is in float.
        whole: Quality if everything is in float.
        harm: (first operator of a unit, quality lost if only this unit is quantized).
    """

    front: tuple[Ranked, ...] = ()
    base: float = 0.0
    whole: float = 0.0
    harm: tuple[tuple[int, float], ...] = ()


def partners_job(pair: Pair) -> dict[int, int]:
    """Index of each operator in the variant -> index of the same operator in the reference; runs in a worker."""
    return {layers.order: layers.reference_order for layers in paired_networks(pair).pairs.pairs}


def float_sets(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    units: Sequence[Orders],
    costs: Callable[[Orders], float],
) -> Sets:
    """The Pareto front of sets of units in float. Raises Cancelled, ImageError, ModelError, WorkerError."""
    measuring = _Measuring(context, reference, variant, images)
    every = union(units)
    base, whole = measuring.qualities([frozenset(), every])
    if whole - base < MIN_GAIN:
        return Sets(base=base, whole=whole)
    measuring.total = 4 * len(units)
    alone = dict(zip(units, measuring.qualities(units), strict=True))
    without = dict(zip(units, measuring.qualities([every - unit for unit in units]), strict=True))
    price = {unit: costs(unit) for unit in units}
    gains = {unit: value - base for unit, value in alone.items()}
    harms = {unit: whole - value for unit, value in without.items()}
    both = {unit: max(gains[unit], 0.0) + max(harms[unit], 0.0) for unit in units}
    kinds = stretches(units) | {"greedy": [s for gain in (gains, harms, both) for s in greedy(gain, price)]}
    named = {orders: kind for kind, sets in kinds.items() for orders in sets}
    rows = [Ranked(tuple(sorted(unit)), "layer", price[unit], alone[unit]) for unit in units]
    for (orders, kind), quality in zip(named.items(), measuring.qualities(list(named)), strict=True):
        rows.append(Ranked(tuple(sorted(orders)), kind, costs(orders), quality))
    harm = tuple((min(unit), harms[unit]) for unit in units)
    front = pareto_front(
        sorted(rows, key=lambda row: len(row.orders)), lambda row: row.cost, lambda row: row.quality, base
    )
    return Sets(front, base, whole, harm)


class _Measuring:
    """Predicts the quality with sets of the reference's operators in float."""

    def __init__(
        self,
        context: Context,
        reference: LoadedModel,
        variant: LoadedModel,
        images: Sequence[EncodedImage],
    ) -> None:
        matching = Matching(PAGE_SCORE, 0.5, CANDIDATE_FLOOR)
        self._measure = Measure(context.quiet(), reference, variant, images[:SAMPLED_IMAGES], matching)
        self._graph = variant.inspection.graph
        self._back: dict[int, set[int]] = {}
        for order, other in context.engine.submit(partners_job, self._measure.pair).result().items():
            self._back.setdefault(other, set()).add(order)
        self._context = context
        context.progress.step("Finding layers worth keeping in float")
        self._measure([frozenset()])
        self._images = self._measure.most_affected(MEASURED_IMAGES, with_scores=True)
        self.done = self.total = 0

    def qualities(self, sets: Sequence[Orders]) -> list[float]:
        """The quality of each set, in [0, 1], in the order given."""
        qualities: list[float] = []
        for start in range(0, len(sets), BATCH):
            self._context.check_cancelled()
            some = [self._in_variant(orders) for orders in sets[start : start + BATCH]]
            qualities += [_quality(tally) for tally in self._measure(some, self._images)]
            self.done += len(some)
            self._context.progress.advance(self.done, max(self.total, self.done))
        return qualities

    def _in_variant(self, orders: Orders) -> Orders:
        """The same operators in the variant, and the conversions that a rebuilt file would not contain."""
        variant_orders = frozenset(other for order in orders for other in self._back.get(order, ()))
        return with_conversions(self._graph, variant_orders)


def _quality(tally: Tally) -> float:
    return tally.agreement if tally.score_share is None else (tally.agreement + tally.score_share) / 2
