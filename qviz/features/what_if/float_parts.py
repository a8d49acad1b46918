"""Parts of a variant that run in float at once: a stretch of the reference in place of several operators."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from qviz.features.what_if.sets import Orders
from qviz.structures import Graph
from qviz.tflite.stepper import Step
from qviz.tflite.stretches import Bounds


@dataclass(frozen=True, slots=True)
class Substitute:
    """Steps of the reference that replace an operator of the variant.

    Attributes:
        steps: Numbers of the steps, in the order in which they run.
        inputs: Tensor of the reference -> tensor of the variant from which it gets its values.
        outputs: Pairs (tensor of the variant, tensor of the reference) of its outputs.
    """

    steps: tuple[int, ...]
    inputs: dict[int, int]
    outputs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class FloatPart:
    """Operators of the variant that one stretch of the reference replaces.

    Attributes:
        bounds: Those of the stretch.
        orders: The operators, and the conversions between them.
        required: `orders`, and the conversions after its first operator that its inputs pass through. All of them must
            run in float.
        inputs: Tensor of the reference -> tensor of the variant from which it gets its values.
        outputs: Pairs (tensor of the variant, tensor of the reference) of the values that are read outside the part.
    """

    bounds: Bounds
    orders: Orders
    required: Orders
    inputs: dict[int, int]
    outputs: tuple[tuple[int, int], ...]


class _Flow:
    """Which operator of a graph writes a tensor, and which ones read it."""

    def __init__(self, graph: Graph, conversions: Collection[int], heads: Collection[int]) -> None:
        self._ops, self._conversions, self._heads = graph.ops, set(conversions), set(heads) | set(graph.outputs)
        self.maker = {tensor: op.order for op in graph.ops for tensor in op.outputs}
        self._readers: dict[int, set[int]] = {}
        for op in graph.ops:
            for tensor in op.inputs:
                if tensor is not None:
                    self._readers.setdefault(tensor, set()).add(op.order)

    def between(self, written: Collection[int], orders: Collection[int]) -> set[int]:
        """The conversions through which these operators read the tensors in `written` and that nothing else reads."""
        tensors, conversions = set(written), []
        for order in sorted(self._conversions):
            if self._ops[order].inputs[0] in tensors:
                conversions.append(order)
                tensors |= set(self._ops[order].outputs)
        inner: set[int] = set()
        for order in reversed(conversions):
            if not any(self.is_read_outside(tensor, {*orders, *inner}) for tensor in self._ops[order].outputs):
                inner.add(order)
        return inner

    def is_read_outside(self, tensor: int, orders: Collection[int]) -> bool:
        return tensor in self._heads or not self._readers.get(tensor, set()) <= set(orders)

    def source(self, tensor: int, conversions: Collection[int]) -> int:
        """The tensor that contains the same values before these conversions."""
        while self.maker.get(tensor) in conversions:
            tensor = self._ops[self.maker[tensor]].inputs[0] or 0
        return tensor

    def after(self, tensor: int, first: int) -> set[int]:
        """The conversions from the operator `first` on that a tensor passed through last."""
        passed = set()
        while (maker := self.maker.get(tensor, -1)) >= first and maker in self._conversions:
            passed.add(maker)
            tensor = self._ops[maker].inputs[0] or 0
        return passed


def float_parts(
    graph: Graph,
    substitutes: Mapping[int, Substitute],
    conversions: Collection[int],
    heads: Collection[int],
    steps: tuple[Step, ...],
    stretches: Iterable[Bounds],
) -> dict[int, list[FloatPart]]:
    """First operator of the variant -> the parts that begin with it, in the order of `stretches`.

    Args:
        graph, heads: The variant, and its tensors that every run must provide.
        substitutes: What replaces each of its operators.
        conversions: Its QUANTIZE and DEQUANTIZE operators.
        steps: The reference's.
        stretches: The reference's.
    """
    flow = _Flow(graph, conversions, heads)
    parts: dict[int, list[FloatPart]] = {}
    for bounds in stretches:
        inside = {order: one for order, one in substitutes.items() if set(one.steps) & set(range(*bounds))}
        part = _part(flow, bounds, inside, steps[slice(*bounds)]) if len(inside) > 1 else None
        if part is not None:
            parts.setdefault(min(inside), []).append(part)
    return parts


def _part(flow: _Flow, bounds: Bounds, inside: Mapping[int, Substitute], steps: tuple[Step, ...]) -> FloatPart | None:
    """The part that a stretch replaces; None if the variant computes these values otherwise or in another order."""
    if any(not set(one.steps) <= set(range(*bounds)) for one in inside.values()):
        return None
    partners = dict(pair for one in inside.values() for pair in one.outputs)
    between = flow.between(partners, inside)
    written = {tensor for step in steps for tensor in step.outputs}
    inputs: dict[int, int] = {}
    required = frozenset(inside) | between
    for one in inside.values():
        for partner, tensor in one.inputs.items():
            if partner in written:
                if partners.get(flow.source(tensor, between)) != partner:
                    return None
                continue
            passed = flow.after(tensor, min(inside))
            source, required = flow.source(tensor, passed), required | passed
            if inputs.setdefault(partner, source) != source or flow.maker.get(source, -1) >= min(inside):
                return None
    if not {tensor for step in steps for tensor in step.inputs} - written <= set(inputs):
        return None
    orders = frozenset(inside) | between
    outputs = tuple(pair for pair in partners.items() if flow.is_read_outside(pair[0], orders))
    return FloatPart(bounds, orders, required, inputs, outputs)
