"""The layers of one image, compared while the reference runs: no activation of it is held longer than it is read.

The variant has run before, and its tensors are held as its file types them (a quarter of FP32's bytes where they are
int8). Then each tensor of the reference is compared as soon as it is there, still in the processor's cache. What
operators are fed is quantized or dequantized once, and let go after its last reader.

What workers find out about layers: sums over the elements of one image, and what does not depend on images.

See `layer_error` for what local and cumulative mean.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from qviz.detector import decoded
from qviz.engine import Blob
from qviz.features.layer_error.tensor_error import ErrorSums, RangeSums, sqnr_db
from qviz.structures import EncodedImage, Image, Op, Quantization, Settings, Tensor
from qviz.tflite.paired_networks import CONVERSIONS, PairedNetworks, activations, as_real, as_variant, paired_networks


@dataclass(slots=True)
class LayerSums:
    """Sums of one layer; seconds are spent in its operator, fed with the reference's activations."""

    local: ErrorSums = field(default_factory=ErrorSums)
    cumulative: ErrorSums = field(default_factory=ErrorSums)
    ranges: RangeSums = field(default_factory=RangeSums)
    seconds: float = 0.0

    def merge(self, other: LayerSums) -> None:
        """Take in what another worker saw."""
        self.local.merge(other.local)
        self.cumulative.merge(other.cumulative)
        self.ranges.merge(other.ranges)
        self.seconds += other.seconds


@dataclass(frozen=True, slots=True)
class LayerFact:
    """What a layer is, whatever the images.

    sources: the layers it reads; scale, value_range: of its output, the range only where it is quantized per tensor.
    """

    order: int
    tensor: str
    op_kind: str
    scale: float | None
    value_range: tuple[float, float] | None
    sources: tuple[int, ...]
    weight_sqnr_db: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The pairing and the layers."""

    paired_share: float
    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]
    layers: tuple[LayerFact, ...]


def facts_job(reference: Blob, variant: Blob, settings: tuple[Settings, Settings]) -> Facts:
    """In a worker: the pairing, and what each layer is."""
    networks = paired_networks(reference, variant, settings)
    pairs = networks.pairs
    rows = tuple(_fact(networks, op) for op in networks.layers)
    return Facts(pairs.paired_share, tuple((p.order, p.reference_order) for p in pairs.pairs), pairs.unpaired, rows)


def _fact(networks: PairedNetworks, op: Op) -> LayerFact:
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    quantization = tensor.quantization if tensor.quantized else None
    scale = float(quantization.scales[0]) if quantization is not None else None
    one = quantization is not None and not quantization.per_channel
    reach = quantization.real_range(tensor.dtype) if quantization is not None and one else None
    sources, weights = _sources(networks, op), _weight_sqnr(networks, op)
    return LayerFact(op.order, tensor.name, op.kind, scale, reach, sources, weights)


def _sources(networks: PairedNetworks, op: Op) -> tuple[int, ...]:
    """The layers whose outputs an operator reads, conversions to float seen through."""
    found = []
    for tensor in op.inputs:
        maker = networks.variant.graph.producer(tensor) if tensor is not None else None
        while maker is not None and maker.kind == "DEQUANTIZE" and maker.inputs[0] is not None:
            maker = networks.variant.graph.producer(maker.inputs[0])
        if maker is not None:
            found.append(maker.order)
    return tuple(found)


def _weight_sqnr(networks: PairedNetworks, op: Op) -> float | None:
    pair = networks.pair_of.get(op.order)
    if pair is None or op.kind in CONVERSIONS:
        return None
    first = networks.reference_weights.get(pair.reference_order)
    second = networks.variant_weights.get(op.order)
    if first is None or second is None or first.shape != second.shape:
        return None
    return sqnr_db(first, second)


def layer_sums_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage, local_inputs: str
) -> dict[int, LayerSums]:
    """In a worker: the sums of every layer on one image, by its order in the variant."""
    networks = paired_networks(reference, variant, settings)
    return sums_of_image(networks, decoded(image), local_inputs)


def sums_of_image(networks: PairedNetworks, image: Image, local_inputs: str) -> dict[int, LayerSums]:
    """The sums of every layer, by its order in the variant."""
    first, second = networks.inputs(image)
    own = networks.variant.run([second], keep=activations(networks.variant))
    stream = (_FedByReference if local_inputs == "reference" else _FedByVariant)(networks, own, image.name)
    stream.see(networks.reference.graph.inputs[0], first)
    networks.reference.run([first], replace=stream.see)
    stream.finish()  # the reference has run
    return stream.found


class _Stream(ABC):
    """own: the variant's tensors. held: those that operators will be fed; their kinds differ, the bookkeeping not."""

    def __init__(self, networks: PairedNetworks, own: Mapping[int, np.ndarray], name: str) -> None:
        self.found: dict[int, LayerSums] = {}
        self.networks, self.own, self.name = networks, own, name
        self.held: dict[int, np.ndarray] = {}
        self._layers = {op.outputs[0]: op for op in networks.layers}
        self._readers = Counter(tensor for op in networks.layers for tensor in set(self.reads(op)))
        self._of: dict[int, list[int]] = defaultdict(list)
        for tensor, partner in networks.partners.items():
            if tensor in own:
                self._of[partner].append(tensor)

    def see(self, partner: int, values: np.ndarray) -> np.ndarray:
        """A tensor of the reference, handed back as it came."""
        for index in self._of.get(partner, ()):
            if values.size == self.own[index].size:
                self._take(index, values.astype(np.float32, copy=False))
        return values

    def _take(self, index: int, x: np.ndarray) -> None:
        op = self._layers.get(index)
        if op is None and not self.awaited(index):
            return
        sums = LayerSums() if op is None else self.found.setdefault(op.order, LayerSums())
        self.hold(index, x, sums.ranges)
        if op is not None:
            y, quantization = self.made(index)
            sums.cumulative.add(x, y, self.name, quantization)
            self.local(op, x, sums)

    def tensor(self, index: int) -> Tensor:
        return self.networks.variant.graph.tensors[index]

    def awaited(self, index: int) -> bool:
        """Whether an operator will be fed it."""
        return self._readers[index] > 0

    def release(self, op: Op) -> None:
        """An operator has been fed."""
        for index in set(self.reads(op)):
            self._readers[index] -= 1
            if not self.awaited(index):
                self.held.pop(index, None)

    @abstractmethod
    def reads(self, op: Op) -> Iterable[int]:
        """Tensors of the variant that the operator is fed."""

    @abstractmethod
    def made(self, index: int) -> tuple[np.ndarray, Quantization | None]:
        """A tensor of the variant: real, or integers with their quantization."""

    @abstractmethod
    def hold(self, index: int, x: np.ndarray, ranges: RangeSums) -> None:
        """What is read of the reference's x, and how the variant's range suits it."""

    @abstractmethod
    def finish(self) -> None:
        """What waited for the whole of the reference."""

    @abstractmethod
    def local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        """The error of the operator that writes the tensor just compared."""


class _FedByReference(_Stream):
    """held: the reference's activations, typed and quantized as the variant's."""

    def __init__(self, networks: PairedNetworks, own: Mapping[int, np.ndarray], name: str) -> None:
        super().__init__(networks, own, name)
        self._early: list[tuple[Op, np.ndarray]] = []

    def reads(self, op: Op) -> Iterable[int]:
        return self.networks.reads(op) or ()

    def made(self, index: int) -> tuple[np.ndarray, Quantization | None]:
        return _integers_or_real(self.own[index], self.tensor(index))

    def hold(self, index: int, x: np.ndarray, ranges: RangeSums) -> None:
        tensor, shape = self.tensor(index), self.own[index].shape
        quantization = _per_tensor(tensor)
        typed = None
        if quantization is not None:
            typed = np.empty(shape, tensor.dtype) if self.awaited(index) else None
            ranges.add(x, quantization, tensor.dtype, typed)
        elif self.awaited(index):
            typed = as_variant(x.reshape(shape), tensor)
        if typed is not None:
            self.held[index] = typed

    def local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        reads = self.networks.reads(op)
        if reads is None:
            return
        if any(index not in self.held for index in reads):
            self._early.append((op, x))  # the reference runs what is before it later
            return
        start = time.perf_counter()
        made = self.networks.alone(op, self.held)
        sums.seconds = time.perf_counter() - start
        y, quantization = _integers_or_real(made, self.tensor(op.outputs[0]))
        sums.local.add_energies(x, y, quantization)
        self.release(op)

    def finish(self) -> None:
        early, self._early = self._early, []
        for op, x in early:
            self.local(op, x, self.found[op.order])


class _FedByVariant(_Stream):
    """held: the variant's own tensors as real numbers, for the reference's operators."""

    def reads(self, op: Op) -> Iterable[int]:
        return [index for index in op.inputs if index is not None and index in self.networks.partners]

    def made(self, index: int) -> tuple[np.ndarray, Quantization | None]:
        return self._real(index), None

    def hold(self, index: int, x: np.ndarray, ranges: RangeSums) -> None:
        tensor = self.tensor(index)
        quantization = _per_tensor(tensor)
        if quantization is not None:
            ranges.add(x, quantization, tensor.dtype)

    def local(self, op: Op, x: np.ndarray, sums: LayerSums) -> None:
        for index in self.reads(op):
            if index in self.own:
                self._real(index)
        start = time.perf_counter()

        def compare(expected: np.ndarray) -> None:
            sums.seconds = time.perf_counter() - start
            sums.local.add_energies(expected, self._real(op.outputs[0]))

        self.networks.expect(op, self.held, compare)
        self.release(op)

    def finish(self) -> None:
        """Nothing waits: the variant's tensors have all been there."""

    def _real(self, index: int) -> np.ndarray:
        if index in self.held:
            return self.held[index]
        values = _real(self.own[index], self.tensor(index))
        if self.awaited(index):
            self.held[index] = values
        return values


def _per_tensor(tensor: Tensor) -> Quantization | None:
    found = tensor.quantization if tensor.quantized else None
    return None if found is None or found.per_channel else found


def _real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """`as_real` in two passes instead of four."""
    quantization = _per_tensor(tensor)
    if quantization is None:
        return as_real(values, tensor)
    real = np.subtract(values, np.float32(quantization.zero_points[0]), dtype=np.float32)
    real *= np.float32(quantization.scales[0])
    return real


def _integers_or_real(values: np.ndarray, tensor: Tensor) -> tuple[np.ndarray, Quantization | None]:
    """As `ErrorSums` takes them: integers with their quantization, all else as real numbers."""
    quantization = _per_tensor(tensor)
    return (values, quantization) if quantization is not None else (as_real(values, tensor), None)
