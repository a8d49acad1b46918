"""How far an operator's weights are from FP32's, as a whole and channel by channel.

Both are float32 of one shape, the variant's dequantized. SQNR in dB as in `tensor_error`, higher is better. The
channels lie along the axis that the file quantizes per channel; where it quantizes per tensor, or keeps float16, along
the operator's output channels.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks
from qviz.analysis.tensor_error import sqnr_db
from qviz.structures import Graph, Op, Tensor

OUTPUT_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0, "CONV_3D": 4}
"""Where the output channels lie in the weights (TensorFlow Lite's operator reference)."""

WORST = 8
"""Channels that are listed."""
SILENT = 1e-6
"""A channel whose weights are smaller than this, against the largest channel's (norms), says nothing: pruned ones are
left by training at 1e-10, and their rounding would look like the worst of all."""


@dataclass(frozen=True, slots=True)
class WeightChannel:
    """One channel: its scale (None in float) and the largest |w| of FP32."""

    channel: int
    sqnr_db: float
    scale: float | None
    max_abs: float


@dataclass(frozen=True, slots=True, eq=False)
class WeightError:
    """dtype, per_channel: as the variant stores them. sqnr_db: of the whole, None where equal.

    channels: (k,) float32 dB, NaN where a channel is equal or silent; empty where no axis is known.
    usual_db: the median of the network's other layers.
    """

    shape: tuple[int, ...]
    dtype: str
    per_channel: bool
    axis: int | None
    sqnr_db: float | None
    usual_db: float | None
    channels: np.ndarray
    worst: tuple[WeightChannel, ...]


def weight_error(networks: PairedNetworks, op: Op) -> WeightError | None:
    """Of a layer of the variant; None where it or its partner has no weights, or theirs have another shape."""
    found = paired_weights(networks, op)
    if found is None:
        return None
    stored = _stored(networks.variant.graph, op, found[1].shape)
    quantization = stored.quantization if stored is not None and stored.quantized else None
    per_channel = quantization is not None and quantization.per_channel
    axis = quantization.axis if quantization is not None and per_channel else OUTPUT_AXES.get(op.kind)
    axis = axis if axis is not None and axis < found[0].ndim else None
    channels = np.zeros(0, np.float32) if axis is None else channel_sqnr_db(*found, axis)
    scales = None if quantization is None or axis is None else _scales(quantization.scales, len(channels))
    return WeightError(
        shape=found[1].shape,
        dtype=stored.dtype if stored is not None else "float32",
        per_channel=per_channel,
        axis=axis,
        sqnr_db=sqnr_db(*found),
        usual_db=_usual(networks, op),
        channels=channels,
        worst=() if axis is None else _worst(channels, scales, _largest(found[0], axis)),
    )


def paired_weights(networks: PairedNetworks, op: Op) -> tuple[np.ndarray, np.ndarray] | None:
    """(FP32's, the variant's), where both have some of one shape."""
    pair = networks.pair_of.get(op.order)
    if pair is None or op.kind in CONVERSIONS:
        return None
    first = networks.reference_weights.get(pair.reference_order)
    second = networks.variant_weights.get(op.order)
    return None if first is None or second is None or first.shape != second.shape else (first, second)


def channel_sqnr_db(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    """(k,) float32 dB of each slice along `axis`; NaN where a slice is equal or silent."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    error, signal = np.square(x - y).sum(axis=others), np.square(x).sum(axis=others)
    differs = (error > 0) & (signal > SILENT**2 * signal.max(initial=0.0))
    ratio = np.divide(signal, error, out=np.full(signal.shape, np.nan), where=differs)
    return (10 * np.log10(ratio)).astype(np.float32)


def _largest(weights: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis), initial=0.0)


def _scales(scales: np.ndarray, channels: int) -> np.ndarray:
    """One a channel, also where the file has one for all."""
    return np.broadcast_to(scales, (channels,))


def _worst(channels: np.ndarray, scales: np.ndarray | None, largest: np.ndarray) -> tuple[WeightChannel, ...]:
    ranked = [int(i) for i in np.argsort(channels, kind="stable")[:WORST] if np.isfinite(channels[i])]
    return tuple(
        WeightChannel(i, float(channels[i]), None if scales is None else float(scales[i]), float(largest[i]))
        for i in ranked
    )


def _usual(networks: PairedNetworks, op: Op) -> float | None:
    """The median SQNR of the other layers' weights: what this network's quantization usually leaves."""
    others = (paired_weights(networks, other) for other in networks.layers if other.order != op.order)
    known = [value for pair in others if pair is not None and (value := sqnr_db(*pair)) is not None]
    return statistics.median(known) if known else None


def _stored(graph: Graph, op: Op, shape: tuple[int, ...]) -> Tensor | None:
    """The constant that holds the weights, also behind a DEQUANTIZE."""
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
