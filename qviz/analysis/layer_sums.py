"""What workers find out about layers: sums over the elements of one image, and what does not depend on images.

See `layer_error` for what local and cumulative mean.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks, as_real, paired_networks
from qviz.analysis.tensor_error import ErrorSums, RangeSums, sqnr_db
from qviz.datasets.images import read_image
from qviz.engine import Blob
from qviz.structures import EncodedImage, Image, Op, Settings


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
    """What a layer is, whatever the images. sources: the layers it reads; scale: of its output, per tensor."""

    order: int
    tensor: str
    op_kind: str
    scale: float | None
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
    scale = float(tensor.quantization.scales[0]) if tensor.quantized and tensor.quantization is not None else None
    return LayerFact(op.order, tensor.name, op.kind, scale, _sources(networks, op), _weight_sqnr(networks, op))


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
    return _one_image(networks, read_image(image), local_inputs)


def _one_image(networks: PairedNetworks, image: Image, local_inputs: str) -> dict[int, LayerSums]:
    truth, own = networks.run(image)
    found = {}
    for op in networks.layers:
        tensor = networks.variant.graph.tensors[op.outputs[0]]
        partner = networks.partners[op.outputs[0]]
        if op.outputs[0] not in own or partner not in truth or truth[partner].size != own[op.outputs[0]].size:
            continue
        y = as_real(own[op.outputs[0]], tensor)
        x = truth[partner].reshape(y.shape)
        sums = found[op.order] = LayerSums()
        sums.cumulative.add(x, y, image.name)
        if tensor.quantized and tensor.quantization is not None and not tensor.quantization.per_channel:
            sums.ranges.add(x, tensor.quantization, tensor.dtype)
        start = time.perf_counter()
        pair = _local_pair(networks, op, truth, own, x, y, local_inputs)
        sums.seconds = time.perf_counter() - start
        if pair is not None:
            sums.local.add(*pair, image.name)
    return found


def _local_pair(
    networks: PairedNetworks,
    op: Op,
    truth: Mapping[int, np.ndarray],
    own: Mapping[int, np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    local_inputs: str,
) -> tuple[np.ndarray, np.ndarray] | None:
    """(expected, made) by this operator alone."""
    if local_inputs == "reference":
        made = networks.local(op, truth)
        return None if made is None else (x, made.reshape(x.shape))
    expected = networks.expected(op, own)
    return None if expected is None else (expected.reshape(y.shape), y)
