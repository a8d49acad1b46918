"""What workers find out about sets of operators in float: one image, many sets, counted as `qviz compare` counts.

share of an object   the best score of its class and place (IoU as for pairs) in the variant's head before NMS, over its
                     score in FP32; 0 where the head holds none above `CANDIDATE_FLOOR`, 1 where it scores more

One variant with some of its operators in float, without rebuilding it.

in float   FP32's own operator (with FP32's weights) runs on the variant's values as real numbers: what another operator
           in float hands on, or the variant's own tensor dequantized. What an operator that stayed reads is quantized
           with the variant's parameters of that tensor; so are the file's outputs, where it types them as integers.
conversion QUANTIZE and DEQUANTIZE compute nothing. In the set, or between two of it, they hand on what they read: an
           input's QUANTIZE in the set lets the pixels pass unclipped and unrounded to readers that are in the set too.
stays      an operator without a partner in FP32, or whose inputs FP32 computes otherwise, runs as the variant has it.

With no operator in float the result is the variant's own, bit for bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.decoders.reading import HeadReader
from qviz.detector import decoded, inference
from qviz.engine import Blob
from qviz.errors import QvizError
from qviz.features.comparison.matching import Change, changes
from qviz.features.what_if.sets import Orders
from qviz.structures import Detections, EncodedImage, Image, Inference, Op, Settings, Tensor
from qviz.structures.boxes import iou_matrix
from qviz.tflite.inputs import Placement, fill, input_size, input_spec
from qviz.tflite.paired_networks import CONVERSIONS, PairedNetworks, activations, as_real, as_variant, paired_networks
from qviz.tflite.runner import Runner
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


Both = tuple[Settings, Settings]


@dataclass(frozen=True, slots=True)
class Counting:
    """score: threshold of objects; low: of the head before NMS; iou: least overlap of a pair."""

    score: float
    iou: float
    low: float


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """One image under one set. deltas: variant minus FP32, of kept and shifted ones; shares: of FP32's objects."""

    kinds: tuple[Change, ...]
    deltas: tuple[float, ...]
    shares: tuple[float, ...]


Outcomes = dict[Orders, ImageOutcome]


def possible_job(reference: Blob, variant: Blob, settings: Both) -> Orders:
    """In a worker: the variant's operators that can run in float."""
    return _lab(reference, variant, settings).mixed.orders


def outcomes_job(
    reference: Blob, variant: Blob, settings: Both, image: EncodedImage, sets: Sequence[Orders], counting: Counting
) -> Outcomes:
    """In a worker: one image under each set. Both networks run once; what a set does not touch is not run again."""
    lab = _lab(reference, variant, settings)
    key = (reference.digest, variant.digest, settings, image.digest, counting.low)
    base = _BASES.get(key, lambda: lab.base(decoded(image), counting.low))
    return {orders: lab.outcome(base, orders, counting) for orders in sets}


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """Both networks on one image: FP32's detections, the variant's tensors."""

    image: Image
    truth: Inference
    own: Mapping[int, np.ndarray]
    placement: Placement

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in self.own.values()) + self.image.pixels.nbytes


class _Lab:
    """Two networks with their heads."""

    def __init__(self, networks: PairedNetworks, settings: Both, files: tuple[bytes, bytes]) -> None:
        self._sides = networks.reference, networks.variant
        self._specs = [input_spec(said) for said in settings]
        self._readers = [_reader(stepper, said) for stepper, said in zip(self._sides, settings, strict=True)]
        self._constants = [_constants(*pair) for pair in zip(files, self._readers, strict=True)]
        self.mixed = MixedNetwork(networks)

    def base(self, image: Image, low: float) -> _Base:
        truth, placement = self._run(0, image, self._readers[0].wanted)
        own, other = self._run(1, image, activations(self._sides[1]) | set(self._readers[1].wanted))
        return _Base(image, self._read(0, truth, placement, image, low), own, other)

    def _run(self, side: int, image: Image, keep: Collection[int]) -> tuple[dict[int, np.ndarray], Placement]:
        values, placement = fill(image, self._specs[side], self._sides[side].graph.input_tensors()[0])
        return self._sides[side].run([values], keep=keep), placement

    def outcome(self, base: _Base, orders: Orders, counting: Counting) -> ImageOutcome:
        tensors = self.mixed.run(base.own, orders, self._readers[1].wanted)
        found = self._read(1, tensors, base.placement, base.image, counting.low)
        return counted(base.truth, found, counting)

    def _read(
        self, side: int, tensors: Mapping[int, np.ndarray], placement: Placement, image: Image, low: float
    ) -> Inference:
        decoded = self._readers[side].decode({**self._constants[side], **tensors}, low)
        return inference(decoded, placement, image, 0.0)


def counted(truth: Inference, found: Inference, counting: Counting) -> ImageOutcome:
    """The objects of one image, as `changes` tells them."""
    rows = changes(truth.detections, found.detections, None, counting.score, counting.iou)
    first, second = truth.detections.above(counting.score), found.detections.above(counting.score)
    deltas = tuple(
        float(second.scores[row.variant]) - float(first.scores[row.reference])
        for row in rows
        if row.change in (Change.KEPT, Change.SHIFTED) and row.reference is not None and row.variant is not None
    )
    among = found.detections if found.candidates is None else found.candidates
    return ImageOutcome(tuple(row.change for row in rows), deltas, _shares(first, among, counting))


def _shares(objects: Detections, among: Detections, counting: Counting) -> tuple[float, ...]:
    if not len(objects) or not len(among):
        return (0.0,) * len(objects)
    near = iou_matrix(objects.boxes, among.boxes) >= counting.iou  # [n, m]
    same = objects.class_ids[:, None] == among.class_ids[None, :]
    best = np.where(near & same, among.scores[None, :], 0).max(axis=1)
    return tuple(float(share) for share in np.minimum(1, best / np.maximum(objects.scores, 1e-9)))


def _reader(stepper: Stepper, settings: Settings) -> HeadReader:
    return HeadReader(stepper.graph, settings, *input_size(stepper.graph.input_tensors()[0]))


def _constants(data: bytes, reader: HeadReader) -> dict[int, np.ndarray]:
    """What a head reads of the file itself: the anchors of an NMS operator."""
    indices = [index for index in reader.wanted if reader.graph.tensors[index].constant]
    found: dict[int, np.ndarray] = {}
    if indices:
        runner = Runner(data)
        for index in indices:
            with suppress(QvizError):  # a decoder does without what is not given away
                found[index] = runner.tensor(index)
    return found


BYTES = 192 << 20

_LABS, _BASES = LRUCache[Any](2), LRUCache[Any](BYTES, lambda base: base.bytes)


def _lab(reference: Blob, variant: Blob, settings: Both) -> _Lab:
    def made() -> _Lab:
        networks = paired_networks(reference, variant, settings)
        return _Lab(networks, settings, (reference.read(), variant.read()))

    return _LABS.get((reference.digest, variant.digest, settings), made)
