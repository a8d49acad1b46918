"""The figures of one layer on one image: what it is, how far it is from FP32, and what of that its range explains.

x is FP32's activation, y the variant's, dequantized. Units as in `tensor_error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qviz.analysis.paired_networks import PairedNetworks
from qviz.analysis.tensor_error import ErrorSums, RangeSums
from qviz.analysis.value_range import ValueRange, ends_of, unused_share
from qviz.structures import Op, Tensor


@dataclass(frozen=True, slots=True)
class Identity:
    """What a layer is. scale, zero_point: of its output, None where it is float or per channel.

    The reference's operator is None where its tensor is the input of the network.
    """

    order: int
    op_kind: str
    tensor: str
    reference_order: int | None
    reference_op_kind: str | None
    reference_tensor: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class OwnError:
    """On this image. None: nothing differs, or (local) it cannot be fed, or (over scale, clipping) it is float.

    clipping_mse, rounding_mse: what the range and the step do to FP32's values. input_clipped_share: of FP32's values
    that go in, how many lie outside of the range of what it reads; the worst input's.
    """

    local_mse: float | None
    local_sqnr_db: float | None
    local_rmse_over_scale: float | None
    cumulative_mse: float
    cumulative_sqnr_db: float | None
    cumulative_rmse_over_scale: float | None
    clipping_mse: float | None
    rounding_mse: float | None
    input_clipped_share: float | None


def per_tensor(tensor: Tensor) -> tuple[float | None, int | None]:
    """Scale and zero point of an activation; None where it is float or per channel."""
    quantization = tensor.quantization
    if not tensor.quantized or quantization is None or quantization.per_channel:
        return None, None
    return float(quantization.scales[0]), int(quantization.zero_points[0])


def identity(networks: PairedNetworks, op: Op, shape: tuple[int, ...]) -> Identity:
    """Of a layer and of its partner; shape: as it came, since a file may leave it open."""
    tensor, partner = networks.variant.graph.tensors[op.outputs[0]], networks.partners[op.outputs[0]]
    other = networks.reference.graph.producer(partner)
    return Identity(
        op.order,
        op.kind,
        tensor.name,
        other.order if other is not None else None,
        other.kind if other is not None else None,
        networks.reference.graph.tensors[partner].name,
        shape,
        tensor.dtype,
        *per_tensor(tensor),
    )


def layer_errors_of(
    networks: PairedNetworks, op: Op, truth: Mapping[int, np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[OwnError, ValueRange]:
    """The errors of a layer and the values it takes. truth: FP32's activations."""
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    local, cumulative, ranges = ErrorSums(), ErrorSums(), clipping(x, tensor)
    cumulative.add(x, y, "")
    made = networks.local(op, truth)
    if made is not None:
        local.add(x, made.reshape(x.shape), "")
    scale = per_tensor(tensor)[0]
    error = OwnError(
        local.mse,
        local.sqnr_db,
        local.rmse_over_scale(scale),
        cumulative.mse or 0.0,
        cumulative.sqnr_db,
        cumulative.rmse_over_scale(scale),
        ranges.mean(ranges.clipping),
        ranges.mean(ranges.rounding),
        _inputs_clipped(networks, op, truth),
    )
    return error, _values(x, y, tensor, ranges.share())


def clipping(x: np.ndarray, tensor: Tensor) -> RangeSums:
    """What a tensor's range and step do to FP32's values; nothing where it is float or per channel."""
    sums = RangeSums()
    if per_tensor(tensor)[0] is not None and tensor.quantization is not None:
        sums.add(x, tensor.quantization, tensor.dtype)
    return sums


def _values(x: np.ndarray, y: np.ndarray, tensor: Tensor, clipped: float | None) -> ValueRange:
    reached, held = ends_of(x), None
    if per_tensor(tensor)[0] is not None and tensor.quantization is not None:
        held = tensor.quantization.real_range(tensor.dtype)
    return ValueRange(reached, ends_of(y), held, clipped, unused_share(reached, held) if held is not None else None)


def _inputs_clipped(networks: PairedNetworks, op: Op, truth: Mapping[int, np.ndarray]) -> float | None:
    """The worst input's clipped share."""
    read = [networks.variant.graph.tensors[i] for i in op.inputs if i is not None and networks.partners.get(i) in truth]
    shares = (clipping(truth[networks.partners[tensor.index]], tensor).share() for tensor in read)
    return max((share for share in shares if share is not None), default=None)
