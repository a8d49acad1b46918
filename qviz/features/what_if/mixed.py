"""Run a variant with some of its operators in float, without rebuilding the file, and classify its detections.

in float    FP32's own operator (with FP32's weights) runs on real numbers: the output of another operator in float, or
            the variant's own tensor dequantized. Values that an unchanged operator reads are quantized with the
            variant's parameters of that tensor; so are integer outputs of the file.
conversion  QUANTIZE and DEQUANTIZE that are in the set, or between two operators of it, pass their input on unchanged:
            with the input's QUANTIZE in the set, operators in float receive the pixels unclipped and unrounded.
stays       an operator without a partner in FP32, or whose inputs FP32 computes differently, runs as in the variant

Without operators in float the result is that of the variant, bit for bit.

share of an object   the best score of its class near it (IoU as for pairs) in the variant's head before NMS, divided by
                     its score in FP32; 0 where the head has none above `CANDIDATE_FLOOR`, at most 1
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.detector import decoded, inference
from qviz.features.comparison.matching import Change, changes
from qviz.features.layer_error.partial_head import heads_of
from qviz.features.what_if.sets import Orders
from qviz.structures import Detections, EncodedImage, Image, Inference, Op, Tensor
from qviz.structures.boxes import iou_matrix
from qviz.tflite.inputs import Placement, fill, input_spec
from qviz.tflite.paired_networks import (
    CONVERSIONS,
    Pair,
    PairedNetworks,
    activations,
    as_real,
    as_variant,
    paired_networks,
)

MAX_CHAIN = 4
"""Maximum operators of FP32 that are fused in one operator of a variant (e.g. an activation and a factor)."""


@dataclass(frozen=True, slots=True)
class Substitute:
    """Steps of the reference that replace an operator of the variant.

    Attributes:
        steps: Numbers of the steps, in the order of running.
        inputs: Tensor of the reference -> tensor of the variant from which it gets its values.
        outputs: (tensor of the variant, tensor of the reference).
    """

    steps: tuple[int, ...]
    inputs: dict[int, int]
    outputs: tuple[tuple[int, int], ...]


class MixedNetwork:
    """A variant whose operators can be replaced by FP32's. orders: operators that can run in float."""

    def __init__(self, networks: PairedNetworks) -> None:
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

    def run(
        self, variant_tensors: Mapping[int, np.ndarray], orders: Collection[int], tensors: Iterable[int]
    ) -> dict[int, np.ndarray]:
        """Run the variant with some operators in float.

        Args:
            variant_tensors: Every tensor of an unchanged run of the variant on the same image.
            orders: The operators in float; those that cannot run in float are ignored.
            tensors: The tensors to return.

        Returns:
            Tensor -> values in the type of the file.

        Raises:
            ModelError: A step fails.
        """
        members, keep = self.closed(orders), set(tensors)
        values = _Values(self._variant.graph.tensors, variant_tensors)
        for number, step in enumerate(self._variant.steps):
            if step.orders[0] in members:
                self._in_float(self._variant.graph.ops[step.orders[0]], values)
            elif any(values.changed(tensor) for tensor in step.inputs):
                values.put(self._variant.run_step(number, {tensor: values.typed(tensor) for tensor in step.inputs}))
            for tensor in step.inputs:
                if self._last[tensor] <= number and tensor not in keep:
                    values.forget(tensor)
        return {tensor: values.typed(tensor) for tensor in keep if values.has(tensor)}

    def closed(self, orders: Collection[int]) -> frozenset[int]:
        """Those of the operators that can run in float, and the conversions between them."""
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
        substitute, tensors = self._substitutes[op.order], self._reference.graph.tensors
        exact = {
            partner: _fitted(values.real(tensor), tensors[partner]) for partner, tensor in substitute.inputs.items()
        }
        for step in substitute.steps:
            exact |= self._reference.run_step(step, exact)
        for tensor, partner in substitute.outputs:
            values.put_real(tensor, exact[partner])

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


class _Values:
    """Tensors that differ from the variant's own run; real values are quantized for operators that are not in float."""

    def __init__(self, tensors: tuple[Tensor, ...], variant_tensors: Mapping[int, np.ndarray]) -> None:
        self._tensors, self._variant_tensors = tensors, variant_tensors
        self._typed: dict[int, np.ndarray] = {}
        self._real: dict[int, np.ndarray] = {}

    def changed(self, tensor: int) -> bool:
        return tensor in self._typed or tensor in self._real

    def has(self, tensor: int) -> bool:
        return self.changed(tensor) or tensor in self._variant_tensors

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
        return self._typed[tensor] if tensor in self._typed else self._variant_tensors[tensor]

    def real(self, tensor: int) -> np.ndarray:
        if tensor in self._real:
            return self._real[tensor]
        value = self.typed(tensor)
        return as_real(value, self._tensors[tensor]) if self._tensors[tensor].quantized else value


def _fitted(value: np.ndarray, tensor: Tensor, typed: bool = True) -> np.ndarray:
    """In a tensor's shape, where the file knows it, and type."""
    fits = bool(tensor.shape) and min(tensor.shape) > 0 and int(np.prod(tensor.shape)) == value.size
    shaped = value.reshape(tensor.shape) if fits else value
    return shaped.astype(tensor.dtype, copy=False) if typed else shaped


def _further_outputs(networks: PairedNetworks) -> dict[int, int]:
    """Partners of the second and further outputs of paired operators (SPLIT, NMS)."""
    graphs = networks.reference.graph, networks.variant.graph
    partners: dict[int, int] = {}
    for pair in networks.pairs.pairs:
        exact, variant_outputs = graphs[0].ops[pair.reference_order].outputs, graphs[1].ops[pair.order].outputs
        if len(exact) == len(variant_outputs) > 1:
            partners |= dict(zip(variant_outputs, exact, strict=True))
    return partners


@dataclass(frozen=True, slots=True)
class Matching:
    """How objects are counted.

    Attributes:
        score: Minimum confidence of an object.
        iou: Minimum overlap of a pair.
        head_score: Minimum score in the head before NMS.
    """

    score: float
    iou: float
    head_score: float


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """The objects of one image with one set of operators in float.

    Attributes:
        changes: The change of each object.
        deltas: Score of the variant minus FP32's score, for kept and shifted objects.
        shares: Share of the score that remains, for each of FP32's objects, in [0, 1]; see the module.
    """

    changes: tuple[Change, ...]
    deltas: tuple[float, ...]
    shares: tuple[float, ...]


Outcomes = dict[Orders, ImageOutcome]


def possible_job(pair: Pair) -> Orders:
    """In a worker: indices of the variant's operators that can run in float."""
    return _detectors(pair).mixed.orders


def outcomes_job(pair: Pair, image: EncodedImage, sets: Sequence[Orders], matching: Matching) -> Outcomes:
    """In a worker: set -> outcome on one image. Both networks run once; only what a set changes is run again."""
    detectors = _detectors(pair)
    key = (pair.key, image.digest, matching.head_score)
    base = _BASES.get(key, lambda: detectors.base(decoded(image), matching.head_score))
    return {orders: detectors.outcome(base, orders, matching) for orders in sets}


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """FP32's detections and the variant's tensors on one image."""

    image: Image
    reference: Inference
    variant_tensors: Mapping[int, np.ndarray]
    placement: Placement

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.variant_tensors.values()) + self.image.pixels.nbytes


class _MixedDetector:
    """Two networks with their heads."""

    def __init__(self, networks: PairedNetworks, pair: Pair) -> None:
        self._steppers = networks.reference, networks.variant
        self._specs = [input_spec(one) for one in pair.settings]
        self._heads = heads_of(networks, pair)
        self.mixed = MixedNetwork(networks)

    def base(self, image: Image, score: float) -> _Base:
        reference, placement = self._run(0, image, self._heads[0].reader.tensors)
        variant_tensors, own_placement = self._run(
            1, image, activations(self._steppers[1]) | set(self._heads[1].reader.tensors)
        )
        decoded = self._heads[0].decode(reference, score)
        return _Base(image, inference(decoded, placement, image, 0.0), variant_tensors, own_placement)

    def _run(self, side: int, image: Image, keep: Collection[int]) -> tuple[dict[int, np.ndarray], Placement]:
        values, placement = fill(image, self._specs[side], self._steppers[side].graph.input_tensors()[0])
        return self._steppers[side].run([values], keep=keep), placement

    def outcome(self, base: _Base, orders: Orders, matching: Matching) -> ImageOutcome:
        tensors = self.mixed.run(base.variant_tensors, orders, self._heads[1].reader.tensors)
        decoded = self._heads[1].decode(tensors, matching.head_score)
        return outcome_of(base.reference, inference(decoded, base.placement, base.image, 0.0), matching)


def outcome_of(reference: Inference, variant: Inference, matching: Matching) -> ImageOutcome:
    """The changes, score differences and remaining scores of the objects of one image."""
    rows = changes(reference.detections, variant.detections, None, matching.score, matching.iou)
    first, second = reference.detections.above(matching.score), variant.detections.above(matching.score)
    deltas = tuple(
        float(second.scores[row.variant]) - float(first.scores[row.reference])
        for row in rows
        if row.change in (Change.KEPT, Change.SHIFTED) and row.reference is not None and row.variant is not None
    )
    candidates = variant.detections if variant.candidates is None else variant.candidates
    return ImageOutcome(tuple(row.change for row in rows), deltas, _shares(first, candidates, matching))


def _shares(objects: Detections, candidates: Detections, matching: Matching) -> tuple[float, ...]:
    if not len(objects) or not len(candidates):
        return (0.0,) * len(objects)
    near = iou_matrix(objects.boxes, candidates.boxes) >= matching.iou  # [n, m]
    same = objects.class_ids[:, None] == candidates.class_ids[None, :]
    best = np.where(near & same, candidates.scores[None, :], 0).max(axis=1)
    return tuple(float(share) for share in np.minimum(1, best / np.maximum(objects.scores, 1e-9)))


MAX_BASE_BYTES = 192 << 20

_DETECTORS, _BASES = LRUCache[Any](2), LRUCache[Any](MAX_BASE_BYTES, lambda base: base.bytes)


def _detectors(pair: Pair) -> _MixedDetector:
    return _DETECTORS.get(pair.key, lambda: _MixedDetector(paired_networks(pair), pair))
