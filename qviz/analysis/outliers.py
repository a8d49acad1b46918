"""Layers that stand out within one variant: no fixed threshold in dB, the other layers of the same file set the bar.

A robust z-score (Iglewicz and Hoaglin, 1993): away from the median by more than 3 robust standard deviations, on the
bad side. The deviation is 1.4826 times the median of |value - median|, or, where more than half of the values agree
and that is 0, 1.2533 times their mean; both are the standard deviation where values are normal.

local   local SQNR (dB, higher is better) far below that of layers of its kind; of all layers where its kind is rare
fall    cumulative SQNR falls across the layer by far more (dB) than it does across the others
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.analysis.layer_error import CLIPPED, LayerError, LayerErrors

DEVIATIONS = 3.0
ENOUGH = 8
"""Layers of a kind from which on they are measured against each other."""


@dataclass(frozen=True, slots=True)
class Outliers:
    """Orders of the layers that stand out, by what they stand out in."""

    local: frozenset[int]
    fall: frozenset[int]

    def __contains__(self, order: int) -> bool:
        return order in self.local or order in self.fall

    def __len__(self) -> int:
        return len(self.local | self.fall)

    def said(self, order: int) -> str:
        """In words, for a table; empty for an ordinary layer."""
        return " and ".join(word for word, found in (("local", self.local), ("fall", self.fall)) if order in found)


def outliers(layers: Sequence[LayerError]) -> Outliers:
    """Which layers of one variant stand out."""
    local = {layer.order: layer.local_sqnr_db for layer in layers if layer.local_sqnr_db is not None}
    falls = {layer.order: -layer.fall_db for layer in layers if layer.fall_db is not None}
    kinds = {layer.order: layer.op_kind for layer in layers}
    by_kind: dict[str, dict[int, float]] = {}
    for order, value in local.items():
        by_kind.setdefault(kinds[order], {})[order] = value
    below_all = _far_below(local)
    low = [_far_below(group) if len(group) >= ENOUGH else below_all & group.keys() for group in by_kind.values()]
    return Outliers(frozenset().union(*low), _far_below(falls))


def worst_layer(layers: Sequence[LayerError]) -> int | None:
    """The layer to look at first, as the page's verdict names it: what clips, else the steepest fall."""
    clipped = max(layers, key=lambda layer: layer.clipped_share or 0.0, default=None)
    if clipped is None:
        return None
    if (clipped.clipped_share or 0.0) > CLIPPED:
        return clipped.order
    steepest = max(layers, key=lambda layer: layer.fall_db or 0.0)
    if steepest.fall_db:
        return steepest.order
    return min(layers, key=lambda layer: np.inf if layer.local_sqnr_db is None else layer.local_sqnr_db).order


def worst_variant(results: Mapping[str, LayerErrors]) -> str | None:
    """The variant whose last layer that differs has the lowest cumulative SQNR."""
    known = {name: [layer.cumulative_sqnr_db for layer in errors.layers] for name, errors in results.items()}
    ends = {name: last[-1] for name, values in known.items() if (last := [v for v in values if v is not None])}
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
