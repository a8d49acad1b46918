"""The measurements in workers: errors of all layers on one image, and facts about layers that do not depend on images.

The variant runs first; its tensors are stored in the types of the file (int8: a quarter of FP32's bytes). Each tensor
of the reference is then compared as soon as it is computed, while it is still in the processor's cache. An input of
operators is quantized or dequantized once, and freed after the last operator that reads it.

See `layer_error` for local and cumulative.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from qviz.detector import decoded
from qviz.features.layer_error.figures import worst_weight_channel
from qviz.features.layer_error.joins import JOINING, ColumnSums, column_sums
from qviz.features.layer_error.tensor_error import ErrorSums, RangeSums, sqnr_db
from qviz.structures import EncodedImage, Image, Op, Quantization, Tensor
from qviz.structures.graph import has_fixed_range
from qviz.tflite.paired_networks import (
    CONVERSIONS,
    Pair,
    PairedNetworks,
    activations,
    as_real,
    as_variant,
    paired_networks,
)
from qviz.tflite.stepper import Stepper


@dataclass(slots=True)
class LayerSums:
    """Sums of one layer over images.

    Attributes:
        local, cumulative: Sums of the local and of the cumulative error.
        ranges: Sums of the clipping and rounding of the output.
        seconds: Time spent in the operator for the local error.
        columns: Cumulative error by column; only for an operator that joins tensors.
    """

    local: ErrorSums = field(default_factory=ErrorSums)
    cumulative: ErrorSums = field(default_factory=ErrorSums)
    ranges: RangeSums = field(default_factory=RangeSums)
    seconds: float = 0.0
    columns: ColumnSums | None = None

    def merge(self, other: LayerSums) -> None:
        """Add the sums of other images."""
        self.local.merge(other.local)
        self.cumulative.merge(other.cumulative)
        self.ranges.merge(other.ranges)
        self.seconds += other.seconds
        if self.columns is None:
            self.columns = other.columns
        elif other.columns is not None:
            self.columns.merge(other.columns)


@dataclass(frozen=True, slots=True)
class LayerFact:
    """Facts about a layer that do not depend on images.

    Attributes:
        order, op_kind: Index and type of the operator.
        tensor: Name of its output.
        scale: Scale of its output; None if that is float.
        value_range: Representable range of its output; None unless it is quantized per tensor.
        sources: Indices of the operators whose outputs it reads.
        weight_sqnr_db: SQNR of its weights in dB; None if it has no weights, or if they equal the reference's.
        reference_order: Index of its partner in the reference; None for an inserted QUANTIZE.
        weight_channel: (output channel whose weights have the lowest SQNR, that SQNR in dB).
        fixed_range: Whether its kernel prescribes the scale of its output.
    """

    order: int
    tensor: str
    op_kind: str
    scale: float | None
    value_range: tuple[float, float] | None
    sources: tuple[int, ...]
    weight_sqnr_db: float | None
    reference_order: int | None
    weight_channel: tuple[int, float] | None
    fixed_range: bool


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The pairing of two networks, and the layers of the variant.

    Attributes:
        paired_share: Share of the reference's operators that have a partner, in [0, 1].
        pairs: (operator of the variant, operator of the reference).
        unpaired: Operators of the variant without a partner.
        layers: One entry per layer, in the order of the file.
    """

    paired_share: float
    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]
    layers: tuple[LayerFact, ...]


def facts_job(pair: Pair) -> Facts:
    """In a worker: the pairing of two networks, and the facts about each layer."""
    networks = paired_networks(pair)
    pairs = networks.pairs
    rows = tuple(_fact(networks, op) for op in networks.layers)
    return Facts(pairs.paired_share, tuple((p.order, p.reference_order) for p in pairs.pairs), pairs.unpaired, rows)


def _fact(networks: PairedNetworks, op: Op) -> LayerFact:
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    quantization = tensor.quantization if tensor.quantized else None
    scale = float(quantization.scales[0]) if quantization is not None else None
    value_range = tensor.per_tensor.real_range(tensor.dtype) if tensor.per_tensor else None
    weights = networks.weights(op)
    weight_sqnr_db = None if weights is None else sqnr_db(*weights)
    pair = networks.pair_of.get(op.order)
    return LayerFact(
        op.order,
        tensor.name,
        op.kind,
        scale,
        value_range,
        _sources(networks, op),
        weight_sqnr_db,
        None if pair is None else pair.reference_order,
        worst_weight_channel(networks, op),
        has_fixed_range(networks.variant.graph, tensor.index),
    )


def _sources(networks: PairedNetworks, op: Op) -> tuple[int, ...]:
    """Indices of the operators whose outputs an operator reads, also through DEQUANTIZE."""
    sources = []
    for tensor in op.inputs:
        maker = networks.variant.graph.producer(tensor) if tensor is not None else None
        while maker is not None and maker.kind == "DEQUANTIZE" and maker.inputs[0] is not None:
            maker = networks.variant.graph.producer(maker.inputs[0])
        if maker is not None:
            sources.append(maker.order)
    return tuple(sources)


def layer_sums_job(pair: Pair, image: EncodedImage, local_inputs: str) -> dict[int, LayerSums]:
    """Operator of the variant -> sums on one image; runs in a worker."""
    return sums_of_image(paired_networks(pair), decoded(image), local_inputs)


def sums_of_image(networks: PairedNetworks, image: Image, local_inputs: str) -> dict[int, LayerSums]:
    """Operator of the variant -> sums on one image."""
    reference_input, variant_input = networks.inputs(image)
    kind = _OnReferenceInputs if local_inputs == "reference" else _OnVariantInputs
    comparison = kind(networks, kind.tensors_of(networks.variant, variant_input), image.name)
    comparison.add(networks.reference.graph.inputs[0], reference_input)
    networks.reference.visit([reference_input], comparison.add, comparison.before)
    comparison.finish()
    return comparison.sums


class _Comparison:
    """Compares the tensors of the reference, in the order in which they are computed, with the variant's.

    Subclasses differ in the inputs that operators receive for their local error.

    Attributes:
        sums: Results, by operator of the variant. variant_tensors: The variant's tensors in the types of its file.
        inputs: Prepared inputs of operators, by tensor of the variant, until their last reader has run.
    """

    keeps_reference = False
    """Whether `inputs` are the reference's activations, converted to the variant's types and quantization."""

    def __init__(self, networks: PairedNetworks, variant_tensors: Mapping[int, np.ndarray], image: str) -> None:
        self.sums: dict[int, LayerSums] = {}
        self.networks, self.variant_tensors, self.image = networks, variant_tensors, image
        self.inputs: dict[int, np.ndarray] = {}
        self._layers = {op.outputs[0]: op for op in networks.layers}
        self._readers = Counter(tensor for op in networks.layers for tensor in set(self.reads(op)))
        self._compared_with: dict[int, list[int]] = defaultdict(list)
        for tensor, partner in networks.partners.items():
            if tensor in variant_tensors:
                self._compared_with[partner].append(tensor)

    @staticmethod
    def tensors_of(variant: Stepper, values: np.ndarray) -> dict[int, np.ndarray]:
        """All activations of the variant on one input."""
        return variant.run([values], keep=activations(variant))

    def reads(self, op: Op) -> Iterable[int]:
        """Tensors of the variant that must stay in `inputs` until the errors of the operator have been added."""
        raise NotImplementedError

    def output(self, index: int) -> tuple[np.ndarray, Quantization | None]:
        """The variant's values of a tensor, as arguments for `ErrorSums`."""
        return _integers_or_real(self.variant_tensors[index], self.tensor(index))

    def before(self, step: int) -> None:
        """Called before a step of the reference runs."""

    def add_local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        """Add the local error of the operator that computes the tensor just compared."""
        raise NotImplementedError

    def finish(self) -> None:
        """Called when the reference has run."""

    def add(self, partner: int, values: np.ndarray) -> None:
        """Compare a tensor of the reference."""
        for index in self._compared_with.get(partner, ()):
            if values.size == self.variant_tensors[index].size:
                self._add(index, values.astype(np.float32, copy=False))

    def _add(self, index: int, x: np.ndarray) -> None:
        op = self._layers.get(index)
        if op is None and not self.is_needed(index):
            return
        sums = LayerSums() if op is None else self.sums.setdefault(op.order, LayerSums())
        self._add_ranges(index, x, sums.ranges)
        if op is not None:
            y, quantization = self.output(index)
            sums.cumulative.add(x, y, self.image, quantization)
            if op.kind in JOINING:
                real = as_real(self.variant_tensors[index], self.tensor(index))
                sums.columns = column_sums(self.networks.variant.graph, op, x.reshape(real.shape), real)
            self.add_local(op, x, sums)

    def _add_ranges(self, index: int, x: np.ndarray, ranges: RangeSums) -> None:
        tensor, shape = self.tensor(index), self.variant_tensors[index].shape
        quantization, keep = tensor.per_tensor, self.keeps_reference and self.is_needed(index)
        typed = None
        if quantization is not None:
            typed = np.empty(shape, tensor.dtype) if keep else None
            ranges.add(x, quantization, tensor.dtype, typed)
        elif keep:
            typed = as_variant(x.reshape(shape), tensor)
        if typed is not None:
            self.inputs[index] = typed

    def tensor(self, index: int) -> Tensor:
        return self.networks.variant.graph.tensors[index]

    def is_needed(self, index: int) -> bool:
        """Whether an operator that has not run yet reads this tensor."""
        return self._readers[index] > 0

    def release(self, op: Op) -> None:
        """Free the inputs of an operator that has run, unless another operator still needs them."""
        for index in set(self.reads(op)):
            self._readers[index] -= 1
            if not self.is_needed(index):
                self.inputs.pop(index, None)


class _OnReferenceInputs(_Comparison):
    """Local error of the variant's operator on the reference's activations."""

    keeps_reference = True

    def __init__(self, networks: PairedNetworks, variant_tensors: Mapping[int, np.ndarray], image: str) -> None:
        super().__init__(networks, variant_tensors, image)
        self._early: list[tuple[Op, np.ndarray]] = []

    def reads(self, op: Op) -> Iterable[int]:
        return self.networks.reads(op) or ()

    def add_local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        reads = self.networks.reads(op)
        if reads is None:
            return
        if any(index not in self.inputs for index in reads):
            self._early.append((op, x))  # the reference computes one of its inputs later
            return
        start = time.perf_counter()
        output = self.networks.alone(op, self.inputs)
        sums.seconds = time.perf_counter() - start
        y, quantization = _integers_or_real(output, self.tensor(op.outputs[0]))
        sums.local.add_energies(x, y, quantization, sums.cumulative.reference)  # x is the same tensor in both
        self.release(op)

    def finish(self) -> None:
        early, self._early = self._early, []
        for op, x in early:
            self.add_local(op, x, self.sums[op.order])


class _OnVariantInputs(_Comparison):
    """Local error if both operators receive the variant's own tensors; the reference's operator gets their real values.

    It is measured before the reference runs the same step, because the reference's tensors are views.
    """

    def __init__(self, networks: PairedNetworks, variant_tensors: Mapping[int, np.ndarray], image: str) -> None:
        super().__init__(networks, variant_tensors, image)
        self._local: dict[int, tuple[ErrorSums, float]] = {}
        self._paired: dict[int, list[Op]] = defaultdict(list)
        for op in networks.layers:
            pair = networks.pair_of.get(op.order)
            step = None if pair is None else networks.single_steps[0].get(pair.reference_order)
            if step is not None:
                self._paired[step].append(op)

    @staticmethod
    def tensors_of(variant: Stepper, values: np.ndarray) -> dict[int, np.ndarray]:
        tensors = {variant.graph.inputs[0]: values}
        variant.visit([values], tensors.__setitem__)
        return tensors

    def reads(self, op: Op) -> Iterable[int]:
        return [i for i in (*op.inputs, op.outputs[0]) if i is not None and i in self.networks.partners]

    def output(self, index: int) -> tuple[np.ndarray, Quantization | None]:
        return self._real(index), None

    def before(self, step: int) -> None:
        for op in self._paired.get(step, ()):
            self._expect(op)

    def add_local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        if op.kind in CONVERSIONS:
            self._expect(op)
        if op.order in self._local:
            sums.local, sums.seconds = self._local.pop(op.order)
        self.release(op)

    def _expect(self, op: Op) -> None:
        """Measure the local error of an operator, if it can be run alone."""
        for index in self.reads(op):
            if index in self.variant_tensors:
                self._real(index)
        start = time.perf_counter()

        def compare(expected: np.ndarray) -> None:
            seconds, local, y = time.perf_counter() - start, ErrorSums(), self._real(op.outputs[0])
            if expected.size == y.size:
                local.add_energies(expected, y)
                self._local[op.order] = local, seconds

        self.networks.expect(op, self.inputs, compare)

    def _real(self, index: int) -> np.ndarray:
        if index in self.inputs:
            return self.inputs[index]
        values = _real(self.variant_tensors[index], self.tensor(index))
        if self.is_needed(index):
            self.inputs[index] = values
        return values


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Same as `as_real`, with two passes over the data instead of four."""
    quantization = tensor.per_tensor
    if quantization is None:
        return as_real(values, tensor)
    real = np.subtract(values, np.float32(quantization.zero_points[0]), dtype=np.float32)
    real *= np.float32(quantization.scales[0])
    return real


def _integers_or_real(values: np.ndarray, tensor: Tensor) -> tuple[np.ndarray, Quantization | None]:
    """Arguments for `ErrorSums`: integers with their per-tensor quantization, anything else as real numbers."""
    return (values, tensor.per_tensor) if tensor.per_tensor else (as_real(values, tensor), None)
