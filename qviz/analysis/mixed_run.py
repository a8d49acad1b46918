"""One variant with some of its operators in float, without rebuilding it.

in float   FP32's own operator (with FP32's weights) runs on the variant's values as real numbers: what another operator
           in float hands on, or the variant's own tensor dequantized. What an operator that stayed reads is quantized
           with the variant's parameters of that tensor; so are the file's outputs, where it types them as integers.
conversion QUANTIZE and DEQUANTIZE compute nothing. In the set, or between two of it, they hand on what they read: an
           input's QUANTIZE in the set lets the pixels pass unclipped and unrounded to readers that are in the set too.
stays      an operator without a partner in FP32, or whose inputs FP32 computes otherwise, runs as the variant has it.

With no operator in float the result is the variant's own, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks, as_real, as_variant
from qviz.structures import Op, Tensor
from qviz.tflite.stepper import Stepper

LONGEST = 4
"""Operators of FP32 that one operator of a variant may stand for (with an activation and a factor fused)."""


@dataclass(frozen=True, slots=True)
class Substitute:
    """What runs in an operator's place. steps: of the reference; feeds: its tensor -> the variant's that is read;
    gives: (tensor of the variant, tensor of the reference)."""

    steps: tuple[int, ...]
    feeds: dict[int, int]
    gives: tuple[tuple[int, int], ...]


class MixedNetwork:
    """Lives in one worker process. orders: of the variant's operators that can run in float."""

    def __init__(self, networks: PairedNetworks) -> None:
        self._reference, self._variant = networks.reference, networks.variant
        self._partners = {**_further_outputs(networks), **networks.partners}
        self._steps = _single_steps(self._reference)
        self._makers = {tensor: op for op in self._reference.graph.ops for tensor in op.outputs}
        alone = _single_steps(self._variant)
        found = {
            op.order: self._substitute(op, networks)
            for op in self._variant.graph.ops
            if op.order in alone and op.kind not in CONVERSIONS
        }
        self._substitutes = {order: made for order, made in found.items() if made is not None}
        self._conversions = {order for order in alone if self._variant.graph.ops[order].kind in CONVERSIONS}
        self.orders = frozenset(self._substitutes) | frozenset(self._conversions)
        self._last = {tensor: number for number, step in enumerate(self._variant.steps) for tensor in step.inputs}

    def run(
        self, own: Mapping[int, np.ndarray], orders: Collection[int], wanted: Iterable[int]
    ) -> dict[int, np.ndarray]:
        """The wanted tensors as the file types them. own: every tensor of the variant's own run on the same image."""
        members, keep = self.closed(orders), set(wanted)
        values = _Values(self._variant.graph.tensors, own)
        for number, step in enumerate(self._variant.steps):
            if step.orders[0] in members:
                self._in_float(self._variant.graph.ops[step.orders[0]], values)
            elif any(values.changed(tensor) for tensor in step.inputs):
                values.put(self._variant.run_step(number, {tensor: values.typed(tensor) for tensor in step.inputs}))
            for tensor in step.inputs:
                if self._last[tensor] <= number and tensor not in keep:
                    values.forget(tensor)
        return {tensor: values.typed(tensor) for tensor in keep if values.known(tensor)}

    def closed(self, orders: Collection[int]) -> frozenset[int]:
        """Those that can run in float, and the conversions between them."""
        members = set(orders) & self.orders
        graph = self._variant.graph
        maker: dict[int | None, int] = {tensor: op.order for op in graph.ops for tensor in op.outputs}
        readers = {tensor for order in members for tensor in graph.ops[order].inputs}
        for order in sorted(self._conversions - members):
            op = graph.ops[order]
            if maker.get(op.inputs[0], -1) in members and set(op.outputs) & readers:
                members.add(order)
        return frozenset(members)

    def _in_float(self, op: Op, values: _Values) -> None:
        if op.order in self._conversions:
            values.put_real(op.outputs[0], values.real(op.inputs[0] or 0))
            return
        made, tensors = self._substitutes[op.order], self._reference.graph.tensors
        held = {mine: _fitted(values.real(theirs), tensors[mine]) for mine, theirs in made.feeds.items()}
        for step in made.steps:
            held |= self._reference.run_step(step, held)
        for theirs, mine in made.gives:
            values.put_real(theirs, held[mine])

    def _substitute(self, op: Op, networks: PairedNetworks) -> Substitute | None:
        pair = networks.pair_of.get(op.order)
        chain = self._chain(pair.reference_order, pair.reference_tensor) if pair is not None else []
        if pair is None or not chain:
            return None
        steps = [self._steps[order] for order in chain]
        inside = {tensor for step in steps for tensor in self._reference.steps[step].outputs}
        back = {self._partners[tensor]: tensor for tensor in op.inputs if tensor in self._partners}
        reads = {tensor for step in steps for tensor in self._reference.steps[step].inputs} - inside
        if reads - set(back):
            return None
        first = self._reference.graph.ops[chain[0]]
        gives = [(pair.tensor, pair.reference_tensor)]
        if len(chain) == 1 and len(first.outputs) == len(op.outputs):
            gives = list(zip(op.outputs, first.outputs, strict=True))
        return Substitute(tuple(steps), {tensor: back[tensor] for tensor in reads}, tuple(gives))

    def _chain(self, first: int, tensor: int) -> list[int]:
        """FP32's operators from one to the one that writes a tensor; none where no short chain leads there."""
        orders: list[int] = []
        while len(orders) < LONGEST and (maker := self._makers.get(tensor)) is not None and maker.order in self._steps:
            orders.insert(0, maker.order)
            if maker.order == first:
                return orders
            read = self._reference.steps[self._steps[maker.order]].inputs
            if len(read) != 1:
                break
            tensor = read[0]
        return []


class _Values:
    """Tensors of one mixed run: its own ones over those of the variant's run; real ones quantized when asked for."""

    def __init__(self, tensors: tuple[Tensor, ...], own: Mapping[int, np.ndarray]) -> None:
        self._tensors, self._own = tensors, own
        self._typed: dict[int, np.ndarray] = {}
        self._real: dict[int, np.ndarray] = {}

    def changed(self, tensor: int) -> bool:
        return tensor in self._typed or tensor in self._real

    def known(self, tensor: int) -> bool:
        return self.changed(tensor) or tensor in self._own

    def put(self, written: Mapping[int, np.ndarray]) -> None:
        self._typed |= written

    def put_real(self, tensor: int, value: np.ndarray) -> None:
        self._real[tensor] = _fitted(value, self._tensors[tensor], typed=False)

    def forget(self, tensor: int) -> None:
        self._typed.pop(tensor, None)
        self._real.pop(tensor, None)

    def typed(self, tensor: int) -> np.ndarray:
        if tensor in self._real and tensor not in self._typed:
            self._typed[tensor] = as_variant(self._real[tensor], self._tensors[tensor])
        return self._typed[tensor] if tensor in self._typed else self._own[tensor]

    def real(self, tensor: int) -> np.ndarray:
        if tensor in self._real:
            return self._real[tensor]
        value = self.typed(tensor)
        return as_real(value, self._tensors[tensor]) if self._tensors[tensor].quantized else value


def _fitted(value: np.ndarray, tensor: Tensor, typed: bool = True) -> np.ndarray:
    """In a tensor's shape, where the file knows it, and type."""
    known = bool(tensor.shape) and min(tensor.shape) > 0 and int(np.prod(tensor.shape)) == value.size
    shaped = value.reshape(tensor.shape) if known else value
    return shaped.astype(tensor.dtype, copy=False) if typed else shaped


def _single_steps(stepper: Stepper) -> dict[int, int]:
    """operator -> the step that runs it alone."""
    return {step.orders[0]: number for number, step in enumerate(stepper.steps) if not step.block}


def _further_outputs(networks: PairedNetworks) -> dict[int, int]:
    """Partners of what paired operators write beside their first output (SPLIT, NMS)."""
    graphs = networks.reference.graph, networks.variant.graph
    found: dict[int, int] = {}
    for pair in networks.pairs.pairs:
        mine, theirs = graphs[0].ops[pair.reference_order].outputs, graphs[1].ops[pair.order].outputs
        if len(mine) == len(theirs) > 1:
            found |= dict(zip(theirs, mine, strict=True))
    return found
