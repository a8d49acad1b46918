"""Run a variant with some of its operators in float, without rebuilding the file, and classify its detections.

in float    FP32's own operator (with FP32's weights) runs on real numbers: the outputs of other operators in float, or
            the variant's own tensors, dequantized. Its output is quantized with the parameters of the variant's tensor
            if an unchanged operator reads it, or if it is an integer output of the file.
conversion  QUANTIZE and DEQUANTIZE operators that are in the set, or that lie between two operators of the set, pass
            their input on unchanged. If the QUANTIZE of the network's input is in the set, operators in float receive
            the pixels without clipping and rounding.
stays       an operator without a partner in FP32, or whose inputs FP32 computes differently, runs as in the variant.
            The inputs of an operator that only moves or joins values need no partners.

Without operators in float, the result is that of the variant, bit for bit. Operators in float that receive exactly
FP32's values are not run, because their outputs are known from FP32's own run. Several unchanged operators, or several
operators in float, run as one model if that gives the same bits (`Stretches`).

weights   with `own_weights`, operators in float compute with the variant's weights, dequantized: the loss that then
          disappears is due to activations, the rest is due to weights
input     with `exact_input`, the network receives FP32's pixels instead of its own integer input
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from qviz.features.what_if.float_parts import FloatPart, Substitute, float_parts
from qviz.features.what_if.sets import Orders
from qviz.features.what_if.values import MixedValues, fitted
from qviz.structures import Op
from qviz.structures.graph import DATA_MOVERS
from qviz.tflite.paired_networks import CONVERSIONS, PairedNetworks
from qviz.tflite.stepper import Piece
from qviz.tflite.stretches import Stretch, Stretches

MAX_CHAIN = 4
"""Maximum number of FP32's operators that a variant may have fused into one, e.g. a convolution and its activation."""


@dataclass(frozen=True, slots=True)
class Float:
    """A set of operators in float, with the conditions under which they run.

    Attributes:
        orders: Indices of the variant's operators.
        own_weights: Whether they compute with the variant's weights, see the module.
        exact_input: Whether the network receives FP32's input, see the module.
    """

    orders: Orders
    own_weights: bool = False
    exact_input: bool = False


class MixedNetwork:
    """A variant whose operators can be replaced by FP32's.

    Args:
        heads: (tensors of the reference, tensors of the variant) that are requested in every run. If None, operators
            run one by one.

    Attributes:
        orders: Operators that can run in float.
        stretches: Those of the reference and of the variant, or (None, None) without `heads`.
    """

    def __init__(
        self,
        networks: PairedNetworks,
        heads: tuple[Collection[int], Collection[int]] | None = None,
    ) -> None:
        self._networks = networks
        self._reference, self._variant = networks.reference, networks.variant
        self._partners = {**_further_outputs(networks), **networks.partners}
        self._steps, alone = networks.single_steps
        self._makers = {tensor: op for op in self._reference.graph.ops for tensor in op.outputs}
        substitutes = {
            op.order: self._substitute(op, networks)
            for op in self._variant.graph.ops
            if op.order in alone and op.kind not in CONVERSIONS
        }
        self._substitutes = {order: substitute for order, substitute in substitutes.items() if substitute is not None}
        self._conversions = {order for order in alone if self._variant.graph.ops[order].kind in CONVERSIONS}
        self.orders = frozenset(self._substitutes) | frozenset(self._conversions)
        self._last = {tensor: number for number, step in enumerate(self._variant.steps) for tensor in step.inputs}
        self.stretches: tuple[Stretches | None, Stretches | None] = (None, None)
        self._parts: dict[int, list[FloatPart]] = {}
        if heads is not None:
            self._prepare_stretches(heads)
        self._own_weights: dict[int, Piece | None] = {}

    def _prepare_stretches(self, heads: tuple[Collection[int], Collection[int]]) -> None:
        exact = Stretches(self._reference, heads[0])
        self.stretches = exact, Stretches(self._variant, heads[1])
        self._parts = float_parts(
            self._variant.graph, self._substitutes, self._conversions, heads[1], self._reference.steps, exact.orders
        )
        exact.keep(partner for parts in self._parts.values() for part in parts for _, partner in part.outputs)

    def run(
        self,
        variant_tensors: Mapping[int, np.ndarray],
        orders: Collection[int] | Float,
        tensors: Iterable[int],
        exact: Mapping[int, np.ndarray] | None = None,
    ) -> dict[int, np.ndarray]:
        """Run the variant with some operators in float.

        Args:
            variant_tensors: All tensors of an unchanged run of the variant on the same image.
            orders: The operators in float; those that cannot run in float are ignored.
            tensors: The tensors to return.
            exact: FP32's run on the same image; needed for `exact_input`.

        Returns:
            Tensor -> values, in the data type of the file.

        Raises:
            ModelError: A step fails.
        """
        chosen = orders if isinstance(orders, Float) else Float(frozenset(orders))
        members, keep = self.closed(chosen.orders), set(tensors)
        values = MixedValues(self._variant.graph.tensors, variant_tensors)
        if exact is not None:
            self._exact_inputs(values, exact, chosen.exact_input)
        number, done = 0, set[int]()
        while number < len(self._variant.steps):
            number = self._advance(number, members, values, chosen.own_weights, keep, done)
        return {tensor: values.typed(tensor) for tensor in keep if values.has(tensor)}

    def _exact_inputs(self, values: MixedValues, exact: Mapping[int, np.ndarray], forced: bool) -> None:
        """Mark the network's inputs that equal FP32's. forced: replace the other inputs by FP32's."""
        values.exact = exact
        for tensor, partner in zip(self._variant.graph.inputs, self._reference.graph.inputs, strict=False):
            variant_pixels, pixels = values.real(tensor), exact[partner]
            if forced or (
                variant_pixels.size == pixels.size and np.array_equal(variant_pixels.reshape(pixels.shape), pixels)
            ):
                values.put_exact(tensor, partner, changed=forced)

    def _advance(
        self,
        number: int,
        members: frozenset[int],
        values: MixedValues,
        own_weights: bool,
        keep: Collection[int],
        done: set[int],
    ) -> int:
        """Run one step, or a stretch of unchanged steps. Returns the number of the next step to run.

        done: operators that ran already, as a part in float.
        """
        step = self._variant.steps[number]
        order = step.orders[0]
        stretch = None if order in members else self._unchanged(number, members, values)
        end = number + 1 if stretch is None else stretch.end
        inputs = step.inputs if stretch is None else stretch.inputs
        if order in members:
            part = None if own_weights or order in done else self._part(order, members, values)
            if part is not None:
                done |= part.orders
            elif order not in done:
                self._in_float(self._variant.graph.ops[order], values, own_weights)
        elif any(values.changed(tensor) for tensor in inputs):
            typed = {tensor: values.typed(tensor) for tensor in inputs}
            values.put(self._variant.run_step(number, typed) if stretch is None else stretch.run([*typed.values()]))
        for tensor in inputs:
            if self._last[tensor] < end and tensor not in keep:
                values.forget(tensor)
        return end

    def _unchanged(self, number: int, members: frozenset[int], values: MixedValues) -> Stretch | None:
        """The longest stretch of steps from `number` on that run as in the variant."""
        stretches = self.stretches[1]
        if stretches is None:
            return None
        return stretches.longest(number, lambda bounds: not stretches.orders[bounds] & members, values.variant_tensors)

    def _part(self, order: int, members: frozenset[int], values: MixedValues) -> FloatPart | None:
        """Run the longest part in float that begins with an operator, and return it; None if there is none."""
        exact = values.exact
        for part in self._parts.get(order, ()):
            if exact is None or self.stretches[0] is None or not part.required <= members:
                continue
            if values.all_exact(part.inputs.items()):
                for tensor, partner in part.outputs:
                    values.put_exact(tensor, partner)
                return part
            stretch = self.stretches[0].between(part.bounds, exact)
            if stretch is not None:
                tensors = self._reference.graph.tensors
                real = stretch.run([fitted(values.real(part.inputs[t]), tensors[t]) for t in stretch.inputs])
                for tensor, partner in part.outputs:
                    values.put_real(tensor, real[partner])
                return part
        return None

    def closed(self, orders: Collection[int]) -> frozenset[int]:
        """The operators among `orders` that can run in float, and the conversions between them."""
        members = set(orders) & self.orders
        graph = self._variant.graph
        maker: dict[int | None, int] = {tensor: op.order for op in graph.ops for tensor in op.outputs}
        readers = {tensor for order in members for tensor in graph.ops[order].inputs}
        for order in sorted(self._conversions - members):
            op = graph.ops[order]
            if maker.get(op.inputs[0], -1) in members and set(op.outputs) & readers:
                members.add(order)
        return frozenset(members)

    def _in_float(self, op: Op, values: MixedValues, own_weights: bool) -> None:
        if op.order in self._conversions:
            values.move(op.inputs[0] or 0, op.outputs[0])
            return
        substitute, tensors = self._substitutes[op.order], self._reference.graph.tensors
        pieces = {step: self._own_piece(op, step) for step in substitute.steps} if own_weights else {}
        if not any(pieces.values()) and values.all_exact(substitute.inputs.items()):
            for tensor, partner in substitute.outputs:
                values.put_exact(tensor, partner)
            return
        real = {partner: fitted(values.real(tensor), tensors[partner]) for partner, tensor in substitute.inputs.items()}
        for step in substitute.steps:
            piece = pieces.get(step)
            inputs = self._reference.steps[step].inputs
            real |= self._reference.run_step(step, real) if piece is None else piece.run([real[t] for t in inputs])
        for tensor, partner in substitute.outputs:
            values.put_real(tensor, real[partner])

    def _own_piece(self, op: Op, step: int) -> Piece | None:
        """A step of the reference with the variant's weights; None if it has no weights or their shapes differ."""
        if step not in self._own_weights:
            constants = dequantized_weights(self._networks, op)
            read = {index for order in self._reference.steps[step].orders for index in self._inputs(order)}
            used = {tensor: value for tensor, value in constants.items() if tensor in read}
            self._own_weights[step] = self._reference.changed_piece(step, used) if used else None
        return self._own_weights[step]

    def _inputs(self, order: int) -> tuple[int | None, ...]:
        return self._reference.graph.ops[order].inputs

    def _substitute(self, op: Op, networks: PairedNetworks) -> Substitute | None:
        pair = networks.pair_of.get(op.order)
        chain = self._chain(pair.reference_order, pair.reference_tensor) if pair is not None else []
        if pair is None or not chain:
            return None
        steps = [self._steps[order] for order in chain]
        inside = {tensor for step in steps for tensor in self._reference.steps[step].outputs}
        back = {self._partners[tensor]: tensor for tensor in op.inputs if tensor in self._partners}
        reads = {tensor for step in steps for tensor in self._reference.steps[step].inputs} - inside
        first = self._reference.graph.ops[chain[0]]
        if len(chain) == 1 and first.kind == op.kind and op.kind in DATA_MOVERS and len(first.inputs) == len(op.inputs):
            by_position = zip(first.inputs, op.inputs, strict=True)
            back = {
                partner: tensor for partner, tensor in by_position if partner is not None and tensor is not None
            } | back
        if reads - set(back):
            return None
        outputs = [(pair.tensor, pair.reference_tensor)]
        if len(chain) == 1 and len(first.outputs) == len(op.outputs):
            outputs = list(zip(op.outputs, first.outputs, strict=True))
        return Substitute(tuple(steps), {tensor: back[tensor] for tensor in reads}, tuple(outputs))

    def _chain(self, first: int, tensor: int) -> list[int]:
        """FP32's operators from `first` to the one that computes `tensor`; empty if no short chain leads there."""
        orders: list[int] = []
        while (
            len(orders) < MAX_CHAIN and (maker := self._makers.get(tensor)) is not None and maker.order in self._steps
        ):
            orders.insert(0, maker.order)
            if maker.order == first:
                return orders
            read = self._reference.steps[self._steps[maker.order]].inputs
            if len(read) != 1:
                break
            tensor = read[0]
        return []


def dequantized_weights(networks: PairedNetworks, op: Op) -> dict[int, np.ndarray]:
    """Tensor of FP32's weights -> the variant's weights, dequantized; empty if FP32's weights cannot be replaced."""
    pair, weights = networks.pair_of.get(op.order), networks.weights(op)
    if pair is None or weights is None:
        return {}
    reference = networks.reference
    for index in reference.graph.ops[pair.reference_order].inputs:
        tensor = None if index is None else reference.graph.tensors[index]
        if tensor is None or tensor.dtype != "float32" or tensor.shape != weights[1].shape:
            continue
        if tensor.constant or tensor.index in reference.folded:
            return {tensor.index: weights[1]}
    return {}


def _further_outputs(networks: PairedNetworks) -> dict[int, int]:
    """Tensor of the variant -> its partner, for all outputs but the first of paired operators (SPLIT, NMS)."""
    graphs = networks.reference.graph, networks.variant.graph
    partners: dict[int, int] = {}
    for pair in networks.pairs.pairs:
        exact, variant_outputs = graphs[0].ops[pair.reference_order].outputs, graphs[1].ops[pair.order].outputs
        if len(exact) == len(variant_outputs) > 1:
            partners |= dict(zip(variant_outputs, exact, strict=True))
    return partners
