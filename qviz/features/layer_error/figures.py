"""Figures of one layer on one image: its errors, an error map, its worst channels, and the error of its weights.

x is FP32's activation, y the variant's, dequantized; both float32 of one shape. Units as in `tensor_error`; SQNR in dB,
higher is better.

map      a feature map is an activation [1, h, w, c] (or [1, c, h, w]) whose cells tile the model's input. Boxes and
         scores of anchors are not feature maps. The error map has, for each cell, the RMS over channels of x - y and of
         x, in the tensor's unit
extent   (x0, y0, x1, y1): the area of the map in pixels of the original image; with letterboxing, it is larger than the
         image
weights  FP32's and the variant's weights, dequantized, are compared as a whole and by channel. The channel axis is the
         one that the file quantizes per channel. If the file quantizes per tensor, or stores float16, it is the axis of
         the operator's output channels
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.layer_error.tensor_error import ErrorSums, ValueRange, ends_of, range_sums, sqnr_db, unused_share
from qviz.structures import Graph, Op, Quantization, Tensor
from qviz.structures.graph import OUTPUT_AXES
from qviz.tflite.paired_networks import PairedNetworks


@dataclass(frozen=True, slots=True)
class Identity:
    """One layer and its partner.

    Attributes:
        order, op_kind: Index and type of the variant's operator.
        tensor: Name of its output.
        reference_order, reference_op_kind: Index and type of the reference's operator; None if the partner is the
            input of the network.
        shape, dtype: Shape and type of the output.
        scale, zero_point: Quantization of the output; None if it is float or quantized per channel.
    """

    order: int
    op_kind: str
    tensor: str
    reference_order: int | None
    reference_op_kind: str | None
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class OwnError:
    """Errors of one layer on one image; units as in `tensor_error`.

    Attributes:
        local_mse, local_sqnr_db, local_rmse_over_scale: Error of the layer alone; None if it cannot be run alone.
        cumulative_mse, cumulative_sqnr_db, cumulative_rmse_over_scale: Error accumulated at its output. SQNR is None if
            nothing differs, RMSE/scale if the output is float.
        clipping_mse, rounding_mse: Error that the range and the step of the output add to FP32's values; None if the
            output is float.
        input_clipped_share: Share of FP32's values, in [0, 1], that lie outside the range of the input that clips most.
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


def scale_of(tensor: Tensor) -> float | None:
    """The scale of a tensor; None if it is float or quantized per channel."""
    return float(tensor.per_tensor.scales[0]) if tensor.per_tensor else None


def identity(networks: PairedNetworks, op: Op, shape: tuple[int, ...]) -> Identity:
    """The description of a layer and its partner. shape: the output's shape in the run; the file may leave it open."""
    tensor, partner = networks.variant.graph.tensors[op.outputs[0]], networks.partners[op.outputs[0]]
    other, quantization = networks.reference.graph.producer(partner), tensor.per_tensor
    return Identity(
        op.order,
        op.kind,
        tensor.name,
        other.order if other is not None else None,
        other.kind if other is not None else None,
        shape,
        tensor.dtype,
        scale_of(tensor),
        int(quantization.zero_points[0]) if quantization else None,
    )


def layer_errors_of(
    networks: PairedNetworks, op: Op, truth: Mapping[int, np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[OwnError, ValueRange]:
    """(errors, ranges of values) of one layer on one image.

    Args:
        truth: FP32's activations by tensor of the reference.
        x, y: The layer's output in FP32 and in the variant, float32 of one shape.
    """
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    local, cumulative, ranges = ErrorSums(), ErrorSums(), range_sums(x, tensor)
    cumulative.add(x, y, "")
    actual = networks.local(op, truth)
    if actual is not None:
        local.add(x, actual.reshape(x.shape), "")
    scale = scale_of(tensor)
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


def _values(x: np.ndarray, y: np.ndarray, tensor: Tensor, clipped: float | None) -> ValueRange:
    reached = ends_of(x)
    representable = tensor.per_tensor.real_range(tensor.dtype) if tensor.per_tensor else None
    unused = None if representable is None else unused_share(reached, representable)
    return ValueRange(reached, ends_of(y), representable, clipped, unused)


def _inputs_clipped(networks: PairedNetworks, op: Op, truth: Mapping[int, np.ndarray]) -> float | None:
    """The largest clipped share among the operator's inputs; None if none has a range."""
    read = [networks.variant.graph.tensors[i] for i in op.inputs if i is not None and networks.partners.get(i) in truth]
    shares = (range_sums(truth[networks.partners[tensor.index]], tensor).share() for tensor in read)
    return max((share for share in shares if share is not None), default=None)


MAX_CELLS = 160
"""Maximum side of a map in cells. In larger maps, squares are averaged over areas before the root is taken."""

WORST = 8
"""Number of channels that are listed."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorMap:
    """Where on the image a layer's output differs.

    Attributes:
        error, reference: (h, w) float32, the RMS over channels of x - y and of x.
        extent: (x0, y0, x1, y1) in pixels of the image.
    """

    error: np.ndarray
    reference: np.ndarray
    extent: tuple[float, float, float, float]

    @property
    def highest(self) -> float:
        return float(self.error.max())


def map_axes(shape: Sequence[int], size: tuple[int, int]) -> tuple[int, int] | None:
    """(vertical, horizontal) axis of a feature map over an input of `size` (width, height); None if it is not one."""
    if len(shape) != 4 or shape[0] != 1:
        return None
    return next((axes for axes in ((1, 2), (2, 3)) if _tiles(shape[axes[0]], shape[axes[1]], size)), None)


def _tiles(down: int, across: int, size: tuple[int, int]) -> bool:
    """Whether roughly square cells tile the input; anchors and boxes are listed along one axis instead."""
    if not (down <= size[1] and across <= size[0] and down * across > 1):
        return False
    ratio = (size[0] / across) / (size[1] / down)
    return 2 / 3 <= ratio <= 3 / 2


def error_map(
    x: np.ndarray, y: np.ndarray, axes: tuple[int, int], extent: tuple[float, float, float, float]
) -> ErrorMap:
    """The error map of an activation with the axes that `map_axes` returns."""
    channels = 3 if axes == (1, 2) else 1
    first, second = (_shrunk(np.square(values).mean(axis=channels)[0]) for values in (x - y, x))
    return ErrorMap(np.sqrt(first), np.sqrt(second), extent)


def _shrunk(energy: np.ndarray) -> np.ndarray:
    """The map with at most MAX_CELLS cells per side. Each new cell is the mean over its area; the mean is the same."""
    down, across = (_areas(side) for side in energy.shape)
    return (down @ energy @ across.T).astype(np.float32)


def _areas(side: int) -> np.ndarray:
    """Share of each old cell in each new one, (cells, side); each row sums to 1."""
    cells = min(side, MAX_CELLS)
    edges = np.linspace(0, side, cells + 1)
    old = np.arange(side)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.clip(overlap, 0, None) * (cells / side)


def worst_channels(x: np.ndarray, y: np.ndarray, axis: int) -> tuple[int, ...]:
    """Up to WORST channels along `axis`, the largest RMSE first; channels without error are left out."""
    error = np.square(x - y).mean(axis=tuple(i for i in range(x.ndim) if i != axis))
    return tuple(int(i) for i in np.argsort(-error, kind="stable")[:WORST] if error[i] > 0)


COARSE_DB = 10.0
"""Weights are coarse if their SQNR is this many dB below the median of the network's layers."""
FINE_WEIGHTS_DB = 35.0
"""Weights with a higher SQNR are never called coarse, whatever the SQNR of other layers is: 8 bits give about 40 dB."""
SILENT = 1e-6
"""Channels whose norm is below this share of the largest channel's norm are ignored. Training leaves the weights of
pruned channels at about 1e-10, and the SQNR of such channels would always be the worst."""


@dataclass(frozen=True, slots=True)
class WeightChannel:
    """The weights of one channel.

    Attributes:
        channel: Index of the channel.
        sqnr_db: SQNR of its weights.
        scale: Scale of its weights; None if they are float.
        max_abs: Largest absolute weight in FP32.
    """

    channel: int
    sqnr_db: float
    scale: float | None
    max_abs: float


@dataclass(frozen=True, slots=True, eq=False)
class WeightError:
    """The error of an operator's weights.

    Attributes:
        dtype, per_channel: Type of the weights in the variant, and whether each channel has a scale of its own.
        axis: The axis of the channels; None if it is not known.
        sqnr_db: SQNR of all weights together; None if they equal FP32's.
        usual_db: Median SQNR of the network's other layers.
        channels: (k,) float32 SQNR in dB; NaN for a channel that equals FP32's or is ignored (`SILENT`). Empty if the
            axis is not known.
        worst: The channels with the lowest SQNR.
    """

    shape: tuple[int, ...]
    dtype: str
    per_channel: bool
    axis: int | None
    sqnr_db: float | None
    usual_db: float | None
    channels: np.ndarray
    worst: tuple[WeightChannel, ...]

    @property
    def coarse(self) -> bool:
        if self.sqnr_db is None or self.usual_db is None:
            return False
        return self.sqnr_db <= min(self.usual_db - COARSE_DB, FINE_WEIGHTS_DB)


def weight_error(networks: PairedNetworks, op: Op) -> WeightError | None:
    """The error of the weights of one layer; None if it or its partner has no weights, or their shapes differ."""
    weights = networks.weights(op)
    if weights is None:
        return None
    stored = stored_weights(networks.variant.graph, op, weights[1].shape)
    quantization = stored.quantization if stored is not None and stored.quantized else None
    per_channel = quantization is not None and quantization.per_channel
    axis = quantization.axis if quantization is not None and per_channel else OUTPUT_AXES.get(op.kind)
    axis = axis if axis is not None and axis < weights[0].ndim else None
    channels = np.zeros(0, np.float32) if axis is None else channel_sqnr_db(*weights, axis)
    return WeightError(
        shape=weights[1].shape,
        dtype=stored.dtype if stored is not None else "float32",
        per_channel=per_channel,
        axis=axis,
        sqnr_db=sqnr_db(*weights),
        usual_db=_usual(networks, op),
        channels=channels,
        worst=() if axis is None else _worst(channels, quantization, weights[0], axis),
    )


def channel_sqnr_db(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """(k,) float32 SQNR in dB of each slice along `axis`; NaN for a slice that is equal or nearly zero (`SILENT`)."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    error, signal = np.square(x - y).sum(axis=others), np.square(x).sum(axis=others)
    return energies_db(signal, error).astype(np.float32)


def energies_db(signal: np.ndarray, error: np.ndarray) -> np.ndarray:
    """(k,) SQNR in dB from sums of squares; NaN if nothing differs, or the signal is nearly zero (`SILENT`)."""
    differs = (error > 0) & (signal > SILENT**2 * signal.max(initial=0.0))
    return 10 * np.log10(np.divide(signal, error, out=np.full(signal.shape, np.nan), where=differs))


def worst_weight_channel(networks: PairedNetworks, op: Op) -> tuple[int, float] | None:
    """(output channel with the lowest SQNR, that SQNR in dB); None if the axis is not known or nothing differs.

    A channel whose weights are all zero in FP32 has no SQNR and is never the worst.
    """
    weights, axis = networks.weights(op), OUTPUT_AXES.get(op.kind)
    if weights is None or axis is None or axis >= weights[0].ndim:
        return None
    channels = channel_sqnr_db(*weights, axis)
    if not np.isfinite(channels).any():
        return None
    worst = int(np.nanargmin(channels))
    return worst, float(channels[worst])


def _worst(
    channels: np.ndarray, quantization: Quantization | None, weights: np.ndarray, axis: int
) -> tuple[WeightChannel, ...]:
    ranked = [int(i) for i in np.argsort(channels, kind="stable")[:WORST] if np.isfinite(channels[i])]
    scales = None if quantization is None else np.broadcast_to(quantization.scales, channels.shape)  # one or one each
    largest = np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis), initial=0.0)
    return tuple(
        WeightChannel(i, float(channels[i]), None if scales is None else float(scales[i]), float(largest[i]))
        for i in ranked
    )


def _usual(networks: PairedNetworks, op: Op) -> float | None:
    """Median SQNR in dB of the other layers' weights; None if none differs."""
    others = (networks.weights(other) for other in networks.layers if other.order != op.order)
    values = [value for pair in others if pair is not None and (value := sqnr_db(*pair)) is not None]
    return statistics.median(values) if values else None


def stored_weights(graph: Graph, op: Op, shape: tuple[int, ...]) -> Tensor | None:
    """The constant with the weights, which may be the input of a DEQUANTIZE; None if no constant has this shape."""
    for index in op.inputs:
        if index is None:
            continue
        tensor = graph.tensors[index]
        maker = None if tensor.constant else graph.producer(index)
        if maker is not None and maker.kind == "DEQUANTIZE" and maker.inputs[0] is not None:
            tensor = graph.tensors[maker.inputs[0]]
        if tensor.constant and tensor.shape == shape:
            return tensor
    return None
