"""What may stay float together, what it costs, and which sets of it are worth a look.

A unit is an operator with weights and what follows it in the file up to the next one (activation, addition, reshape):
the smallest part that makes sense in float. Where a recipe touches weights only, it is the operator with weights alone.
Costs are of a unit in float instead of quantized: bytes of its weights, or multiplications that run in float. Orders
are those of the float32 .tflite file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from qviz.analysis.float_sets import Orders
from qviz.quantize import Recipe
from qviz.quantize.recipes import WEIGHTS_8
from qviz.structures import Graph, Op, Tensor
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
