"""What workers find out about layers: sums over the elements of one image, and what does not depend on images.

See `layer_error` for what local and cumulative mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks, paired_networks
from qviz.analysis.tensor_error import ErrorSums, RangeSums, sqnr_db
from qviz.engine import Blob
from qviz.structures import Op, Settings


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
