"""Divide the channels of a region into quiet and loud ones, so that 8-bit steps cause the smallest error after it.

With one scale per tensor, every channel has the same step, a 255th of the tensor's range. The error that a tensor t of
the region causes in an output o of the convolutions at its end is about

    noise(o) = sum over t and channels c of step(t, c)^2 (width(c) / width(t, c))^2 |W[o, c]|^2

    width(t, c)   range of the channel in t, zero included; width(c): in the tensor that the last convolution reads
    W[o, c]       weights with which output o reads the channel

In two parts, a channel has the step of its part. For each tensor, the channels are sorted by their ranges and divided
at every position; the division whose noise is smallest, as the mean of the decibels over all outputs, is returned.
Tensors whose range a kernel prescribes (LOGISTIC, TANH) keep their steps and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.features.building.channel_regions import Region
from qviz.features.building.equalize import channel_ranges
from qviz.features.building.recipes import weights_of
from qviz.structures import Graph, Op
from qviz.structures.graph import FIXED_RANGE
from qviz.tflite.constants import stored_constant

Ends = tuple[np.ndarray, np.ndarray]
"""(inputs, channels) smallest and largest value of each channel on each input."""


def divided(data: bytes, graph: Graph, region: Region, inputs: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """(whether each channel of the first convolution is quiet, predicted gain of the SQNR after the region in dB).

    The gain is 0 if no division gains, or if a value is not finite.

    Args:
        data: A float32 file, of which `graph` is the graph.
        inputs: Inputs of the network on which ranges are measured.

    Raises:
        ModelError: The file cannot be run.
    """
    measured = channel_ranges(data, inputs, region.repeats)
    ranges = {tensor: _by_first(ends, region.repeats[tensor]) for tensor, ends in measured.items()}
    count = ranges[region.first.outputs[0]][0].shape[1]
    quiet, best = np.zeros(count, bool), 0.0
    if not all(np.isfinite(values).all() for ends in ranges.values() for values in ends):
        return quiet, best
    prescribed = {tensor for op in region.inner if op.kind in FIXED_RANGE for tensor in op.outputs}
    influence = {tensor: _influence(data, graph, region, tensor, ranges) for tensor in ranges.keys() - prescribed}
    for tensor in sorted(influence):
        order = np.argsort(_widths(ranges[tensor]), kind="stable")
        gains = _gains(order, ranges, influence)
        if gains.max() > best:
            best = float(gains.max())
            quiet = np.zeros(count, bool)
            quiet[order[: gains.argmax() + 1]] = True
    return quiet, best


def _by_first(ends: Ends, repeats: int) -> Ends:
    """The ranges with one column per channel of the first convolution."""
    lows, highs = (values.reshape(len(values), -1, repeats) for values in ends)
    return lows.min(2), highs.max(2)


def _widths(ends: Ends) -> np.ndarray:
    """The range of each channel, zero included, as the mean over the inputs, (channels,) float64."""
    return _width(*ends)


def _width(lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    low, high = (values.mean(0, dtype=np.float64) for values in (lows, highs))
    return np.maximum(high, 0) - np.minimum(low, 0)


def _influence(data: bytes, graph: Graph, region: Region, tensor: int, ranges: dict[int, Ends]) -> np.ndarray:
    """(channels, outputs of all ends) squared influence of an error in a channel of a tensor on each output."""
    widths = _widths(ranges[tensor])
    columns = []
    for op in region.ends:
        entry = op.inputs[0] or 0
        growth = np.divide(_widths(ranges[entry]), widths, out=np.zeros_like(widths), where=widths > 0)
        columns.append(growth[:, None] ** 2 * _energies(data, graph, op, len(widths)))
    return np.concatenate(columns, 1)


def _energies(data: bytes, graph: Graph, op: Op, channels: int) -> np.ndarray:
    """(channels, outputs) sums of the squared weights with which each output reads each channel."""
    weights = weights_of(graph, op)
    assert weights is not None
    squares = np.square(stored_constant(data, weights), dtype=np.float64).sum((1, 2))
    return squares.reshape(len(squares), channels, -1).sum(2).T


def _gains(order: np.ndarray, ranges: dict[int, Ends], influence: dict[int, np.ndarray]) -> np.ndarray:
    """(channels - 1,) gain in dB if the first 1, 2, ... channels of `order` are one part and the others the other."""
    whole: np.ndarray | float = 0.0
    noise: np.ndarray | float = 0.0
    for tensor, weights in influence.items():
        lows, highs = (values[:, order] for values in ranges[tensor])
        first = _width(np.minimum.accumulate(lows, 1), np.maximum.accumulate(highs, 1))
        rest = _width(*(f.accumulate(v[:, ::-1], 1)[:, ::-1] for f, v in ((np.minimum, lows), (np.maximum, highs))))
        total = np.cumsum(weights[order], 0)
        whole = whole + first[-1] ** 2 * total[-1]
        noise = noise + first[:-1, None] ** 2 * total[:-1] + rest[1:, None] ** 2 * (total[-1] - total[:-1])
    tiny = np.finfo(np.float64).tiny
    gains: np.ndarray = 10 * np.log10((whole + tiny) / (noise + tiny)).mean(1)
    return gains
