"""The experiments of a diagnosis: sets of operators in float, and the agreement that each brings back.

Tried are the sets of `what_if`, and the operators that warnings about the file name. All are measured on the same
images, so that a set has the same figure on every page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from qviz.features.accuracy.bootstrap import draws, interval
from qviz.features.comparison.matching import agreement, agreement_of
from qviz.features.diagnosis.result import Estimate
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.joins import JOINING
from qviz.features.layer_error.metrics import LayerError
from qviz.features.what_if import FloatSet, WhatIf
from qviz.features.what_if.measure import Chosen, Measure
from qviz.features.what_if.mixed import Float
from qviz.features.what_if.sets import Orders, with_conversions, with_join, with_readers
from qviz.structures import Graph
from qviz.structures.operators import operator_name
from qviz.tflite.paired_networks import CONVERSIONS

FLOATS = ("float32", "float16")
MAX_MAKERS = 8


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of operators in float, measured.

    Attributes:
        kind: A kind of set in `what_if` (see `FloatSet`), or `lint`, `input` or `together`.
        orders: Operators of the variant.
        chosen: The operators in float with their conditions, as they were run.
        subject: Name of the set in a sentence.
        explained, low, high: Share of the lost agreement that comes back, with its 95 % interval over images.
        estimate: The agreement with the set in float.
        warning: The warning about the file that names these operators, or None.
    """

    kind: str
    orders: Orders
    chosen: Float
    subject: str
    explained: float
    low: float | None
    high: float | None
    estimate: Estimate
    warning: Warning | None = None


class Trials:
    """Measures trials on one pair of models.

    Args:
        measure: A `Measure` that has measured the unchanged variant.
    """

    def __init__(self, measure: Measure, errors: LayerErrors) -> None:
        self._measure = measure
        self.graph: Graph = measure.variant.inspection.graph
        self.layers: dict[int, LayerError] = {layer.order: layer for layer in errors.layers}
        self.layer_images = errors.images
        self._base = measure.counts(frozenset())
        self._weights = draws(len(measure.images))

    @property
    def images(self) -> int:
        return len(self._measure.images)

    def prepare(self, sets: Iterable[Chosen]) -> None:
        """Measure several sets at once, which is faster than one by one because they share the runs of each image."""
        self._measure(list(sets))

    def of(self, kind: str, chosen: Chosen, subject: str, warning: Warning | None = None) -> Trial:
        """The trial of one set, measured on all images."""
        one = chosen if isinstance(chosen, Float) else Float(chosen)
        self._measure([one])
        counts = self._measure.counts(one)
        base, value = agreement_of(self._base), agreement_of(counts)
        before, after = (agreement(rows, self._weights) for rows in (self._base, counts))
        lost = 1 - (1.0 if base is None else base)
        back = (1.0 if value is None else value) - (1 - lost)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(before < 1, (after - before) / (1 - before), np.nan)
        low, high = interval(shares, self.images)
        bounds = interval(after, self.images)
        estimate = Estimate("agreement", value, *bounds, self.images)
        explained = back / lost if lost > 0 else 0.0
        return Trial(kind, one.orders, one, subject, explained, low, high, estimate, warning)

    def of_set(self, row: FloatSet) -> Trial:
        """The trial of a set of the what-if experiment, which is measured already."""
        return self.of(row.kind, frozenset(row.orders), row.subject)

    def of_warning(self, warning: Warning) -> Trial:
        """The trial of the operators that a warning names, with the operators that share their scale or read them."""
        return self.of("lint", self.orders_of(warning), self.name(warning.operators), warning)

    def orders_of(self, warning: Warning) -> Orders:
        """The operators that must run in float to remove the fault that a warning describes."""
        orders: Orders = frozenset()
        for order in warning.operators:
            op = self.graph.ops[order]
            scaled = op.kind in JOINING or warning.code != "saturated_bias"
            readers = with_join(self.graph, order) if op.kind in JOINING else with_readers(self.graph, order)
            orders |= readers if scaled else frozenset({order})
        return with_conversions(self.graph, orders)

    def of_input(self) -> Trial | None:
        """The trial with FP32's pixels in place of the variant's integer input; None if the input is float."""
        tensor = self.graph.input_tensors()[0]
        readers = [op.order for op in self.graph.ops if tensor.index in op.inputs]
        if tensor.dtype in FLOATS or not readers:
            return None
        chosen = Float(with_conversions(self.graph, frozenset(readers)), exact_input=True)
        return self.of("input", chosen, self.name(readers))

    def makers(self, orders: Orders) -> list[Orders]:
        """The operators directly before these, each with its conversions: the last `MAX_MAKERS` in the file's order."""
        read = {index for order in orders for index in self.graph.ops[order].inputs}
        before = (op.order for op in reversed(self.graph.ops) if op.order not in orders and read & set(op.outputs))
        sets = (with_conversions(self.graph, frozenset({order})) - orders for order in islice(before, MAX_MAKERS))
        return list(dict.fromkeys(sets))

    def of_layer(self, orders: Orders) -> Trial:
        """The trial of one operator, with its conversions."""
        named = [order for order in sorted(orders) if self.graph.ops[order].kind not in CONVERSIONS]
        return self.of("layer", orders, self.name(named or sorted(orders)))

    def with_own_weights(self, trial: Trial) -> Trial:
        """The trial of the same operators in float, but with the variant's weights.

        The agreement that comes back was lost by activations, not by weights.
        """
        chosen = Float(trial.orders, own_weights=True, exact_input=trial.chosen.exact_input)
        return self.of(trial.kind, chosen, trial.subject)

    def together(self, trials: Iterable[Trial]) -> Trial:
        """The trial of all operators of several trials in float."""
        rows = list(trials)
        orders = frozenset(order for trial in rows for order in trial.orders)
        exact_input = any(trial.chosen.exact_input for trial in rows)
        return self.of("together", Float(orders, exact_input=exact_input), "")

    def gain(self, before: Trial, after: Trial) -> tuple[float, float | None]:
        """(share of the lost agreement that `after` brings back in addition to `before`, lower end of its interval)."""
        first, second = (self._measure.counts(trial.chosen) for trial in (before, after))
        base, less, more = (agreement(rows, self._weights) for rows in (self._base, first, second))
        with np.errstate(divide="ignore", invalid="ignore"):
            low, _ = interval(np.where(base < 1, (more - less) / (1 - base), np.nan), self.images)
        return after.explained - before.explained, low

    def name(self, orders: Sequence[int]) -> str:
        """`operator 12 (CONV_2D)`, or `operators 12 (CONV_2D) and 2 others`."""
        first = self.layers.get(orders[0])
        named = operator_name(orders[0], self.graph.ops[orders[0]].kind) if first is None else first.name
        rest = len(orders) - 1
        return named if not rest else f"{named} and {rest} other{'s' if rest > 1 else ''}"


def chosen_sets(experiment: WhatIf) -> tuple[FloatSet | None, list[FloatSet]]:
    """(the set that the experiment names, the others that could be named, the best first)."""
    named = experiment.named
    others = [row for row in experiment.sets if row.subject and row is not named]
    return named, sorted(others, key=lambda row: (-(row.explained or 0.0), len(row.orders)))
