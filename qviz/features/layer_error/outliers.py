"""Layers that stand out within one variant, and positions of layers on an axis common to several variants.

A layer stands out if its value is worse than the median of the layers of the same file by more than 3 robust standard
deviations (a robust z-score: Iglewicz and Hoaglin, 1993). The robust deviation is 1.4826 times the median of |value -
median|. If this is 0, because more than half of the values are equal, it is 1.2533 times the mean of |value - median|.
Both equal the standard deviation if values are normally distributed.

local   local SQNR (dB, higher is better), judged among layers of the same operator type, or among all layers if the
        type is rare
fall    fall of the cumulative SQNR across the layer (dB, lower is better), judged among all layers
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import LayerError
from qviz.structures.graph import DATA_MOVERS

DEVIATIONS = 3.0
EXACT_DB = 60.0
"""SQNR in dB above which a layer's input counts as exact; 8-bit rounding leaves about 40 dB."""
MOVERS = DATA_MOVERS - {"QUANTIZE", "CONCATENATION", "PACK"}
"""Operators that only pass values on. A fall at such an operator means that a selection has reordered rows."""
INHERITED_FACTOR = 10.0
"""A layer inherits most of its error if the cumulative MSE is at least this many times the local MSE (10 dB)."""
MIN_GROUP = 8
"""Layers of one operator type are compared only among themselves if there are at least this many."""


def reference_positions(errors: LayerErrors) -> dict[int, float]:
    """Operator of the variant -> position on an axis that several variants share: the index of its partner.

    A layer without a partner (an inserted QUANTIZE) is placed half a step after the preceding layer in the file.
    """
    partners = dict(errors.pairs)
    positions: dict[int, float] = {}
    last = -1
    for layer in errors.layers:
        last = partners.get(layer.order, last)
        positions[layer.order] = last if layer.order in partners else last + 0.5
    return positions


def positions_along(errors: LayerErrors, base: LayerErrors) -> dict[int, float]:
    """Operator of a variant -> position on an axis of another variant's operators, by their partners in the reference.

    A layer without a counterpart in `base` is placed half a step after the preceding layer.
    """
    if errors is base:
        return {layer.order: layer.order for layer in errors.layers}
    orders = {partner: order for order, partner in reversed(base.pairs)}
    partners = dict(errors.pairs)
    positions: dict[int, float] = {}
    last = -1.0
    for layer in errors.layers:
        order = orders.get(partners.get(layer.order, -1))
        last = last if order is None else order
        positions[layer.order] = last + 0.5 if order is None else last
    return positions


@dataclass(frozen=True, slots=True)
class Outliers:
    """Indices of the layers that stand out in each of the two metrics."""

    local: frozenset[int]
    fall: frozenset[int]

    def __contains__(self, order: int) -> bool:
        return order in self.local or order in self.fall

    def __len__(self) -> int:
        return len(self.local | self.fall)

    def reasons(self, order: int) -> str:
        """`local`, `fall` or `local and fall`; empty for an ordinary layer."""
        return " and ".join(name for name, orders in (("local", self.local), ("fall", self.fall)) if order in orders)


def outliers(layers: Sequence[LayerError]) -> Outliers:
    """The layers of one variant that stand out."""
    local = {layer.order: layer.local_sqnr_db for layer in layers if layer.local_sqnr_db is not None}
    falls = {layer.order: -layer.fall_db for layer in layers if layer.fall_db is not None}
    kinds = {layer.order: layer.op_kind for layer in layers}
    by_kind: dict[str, dict[int, float]] = {}
    for order, value in local.items():
        by_kind.setdefault(kinds[order], {})[order] = value
    below_all = _far_below(local)
    low = [_far_below(group) if len(group) >= MIN_GROUP else below_all & group.keys() for group in by_kind.values()]
    return Outliers(frozenset().union(*low), _far_below(falls))


def worst_layer(layers: Sequence[LayerError]) -> LayerError | None:
    """The layer to look at first: the one that clips most, else the one with the largest fall, else with the largest
    local error.

    A fall does not count at an operator that only passes values on, or whose kernel prescribes its scale, because
    nothing can be changed there.
    """
    clipped = max(
        (layer for layer in layers if layer.clips), key=lambda layer: layer.clipped_share or 0.0, default=None
    )
    if clipped is not None or not layers:
        return clipped
    candidates = [layer for layer in layers if layer.op_kind not in MOVERS and not layer.fixed_range]
    largest_fall = max(candidates or layers, key=_capped_fall)
    if largest_fall.fall_db:
        return largest_fall
    return min(layers, key=lambda layer: np.inf if layer.local_sqnr_db is None else layer.local_sqnr_db)


def from_exact(layer: LayerError) -> bool:
    """Whether the layer's input is nearly exact, as near the network's input. Any error is then a large fall."""
    return (layer.fall_db or 0.0) + (layer.cumulative_sqnr_db or 0.0) > EXACT_DB


def inherits(layer: LayerError) -> bool:
    """Whether most of the error after a layer comes from before it, so that the layer adds little error of its own."""
    local, after = layer.local_mse, layer.cumulative_mse
    return local is not None and after is not None and after >= INHERITED_FACTOR * local


def _capped_fall(layer: LayerError) -> float:
    """The fall in dB. If the SQNR of the layer's input is above EXACT_DB, the fall is counted from EXACT_DB."""
    fall, after = layer.fall_db or 0.0, layer.cumulative_sqnr_db
    return fall if after is None else min(fall, EXACT_DB - after)


def end_sqnr_db(errors: LayerErrors) -> float | None:
    """Cumulative SQNR in dB of the last layer that differs; None if none does."""
    values = [layer.cumulative_sqnr_db for layer in errors.layers if layer.cumulative_sqnr_db is not None]
    return values[-1] if values else None


def worst_variant(results: Mapping[str, LayerErrors]) -> str | None:
    """The variant with the lowest `end_sqnr_db`; None if no layer differs."""
    ends = {name: end for name, errors in results.items() if (end := end_sqnr_db(errors)) is not None}
    return min(ends, key=lambda name: ends[name], default=None)


def _far_below(values: Mapping[int, float]) -> frozenset[int]:
    """The keys whose values lie far below the median."""
    if len(values) < 3:
        return frozenset()
    numbers = np.fromiter(values.values(), np.float64)
    away = np.abs(numbers - np.median(numbers))
    deviation = 1.4826 * np.median(away) or 1.2533 * np.mean(away)
    bar = np.median(numbers) - DEVIATIONS * deviation
    return frozenset(order for order, value in values.items() if value < bar)
