"""Cross-layer equalization: channels with small values are scaled up, so that one scale suits all channels of a tensor.

Between two convolutions whose activation is linear or ReLU, channel c may be divided by s[c] where it is written
(weights and bias of the first) and multiplied by s[c] where it is read (weights of the second); the network computes
the same. The activations of a .tflite file have one scale per tensor, but its weights have one per output channel.
Scaling the weights of the first convolution therefore costs nothing, unlike with one scale per tensor (Nagel et al.,
arXiv 1906.04721), and the same holds for a depthwise second convolution. In a full second convolution, all input
channels of an output share one scale, so activations and weights are balanced:

    share[c] = peak[c] / max(peak)                     peak[c]: largest |activation| of the channel on the images
    weight[c] = max over outputs o of max|W2[o, c]| / max|W2[o]|
    s[c] = share[c]                                    second convolution depthwise
    s[c] = sqrt(share[c] / weight[c]) / its maximum    second convolution full

ReLU6 clips at 6 whatever the channel's scale, so the network computes the same only while no value reaches 6: channels
that stay below 4 on the images are scaled up to 4 at most (`RELU6_ROOM`), others are not scaled. Channels cannot be
scaled through SiLU, HARD_SWISH, LOGISTIC, sums and concatenations; such convolutions are listed with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qviz.features.building.error_measures import end_tensors, largest_difference
from qviz.features.building.recipes import bias_of
from qviz.formatting import plural
from qviz.structures import Graph, Op, Tensor
from qviz.tflite.constants import operator_options, own_constants, stored_constant, with_constants
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

CHANNELWISE = frozenset(
    {"RELU", "LEAKY_RELU", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
)
"""Operators that compute f(x s) = f(x) s for s > 0, channel by channel. PAD fills with zeros."""
CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
MIN_GAIN = 4.0
"""A pair is only changed if some channel is scaled up by at least this factor (2 bits); less would gain little."""
MAX_GAIN = 256.0
RELU6_ROOM = 1.5
"""Values may become this many times as large as on the images before ReLU6 clips them."""
TOLERANCE = 1e-4
"""Largest permitted change of an output, relative to the largest value of the output."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two convolutions between which channels were scaled.

    Attributes:
        first, second: Orders of the two convolutions.
        channels: Number of channels that were scaled up.
        gain: Largest factor.
    """

    first: int
    second: int
    channels: int
    gain: float


@dataclass(frozen=True, slots=True)
class Equalized:
    """The result of `equalize`.

    Attributes:
        data: The changed float32 file; the given bytes if nothing was changed.
        pairs: The pairs that were changed.
        even: Orders of convolutions whose channels already have about equal ranges.
        refused: Orders of convolutions that cannot be equalized -> the reason.
        difference: Largest difference of the outputs before and after, relative to the largest output.
    """

    data: bytes = field(repr=False)
    pairs: tuple[Pair, ...] = ()
    even: tuple[int, ...] = ()
    refused: Mapping[int, str] = field(default_factory=dict)
    difference: float = 0.0

    def __str__(self) -> str:
        possible = len(self.pairs) + len(self.even)
        return (
            f"Equalization changed {len(self.pairs)} of {plural(possible + len(self.refused), 'convolution')}"
            f" (already even: {len(self.even)}; not possible: {len(self.refused)})."
        )


def equalize(data: bytes, inputs: Sequence[np.ndarray]) -> Equalized:
    """Equalize the channels between pairs of convolutions of a float32 .tflite file.

    Args:
        inputs: The network's input for some images, each in the shape and type of the input tensor.

    Raises:
        ModelError: The file cannot be read or run.
        ValueError: There is no input.

    Example:
        >>> result = equalize(float32, inputs)
        >>> str(result)
        'Equalization changed 5 of 73 convolutions (even already: 2; not possible: 66).'
    """
    if not inputs:
        raise ValueError("equalization needs the inputs of at least one image")
    graph = read_graph(data)
    chains, refused = find_pairs(data, graph)
    peaks = _peaks(data, inputs, {chain.tensor for chain in chains})
    values = _Constants(data, graph)
    pairs, even = [], []
    for chain in chains:
        scales = _scales(chain, peaks[chain.tensor], values)
        if (gain := float(1 / scales.min())) < MIN_GAIN:
            even.append(chain.first.order)
            continue
        values.scale(chain, scales)
        pairs.append(Pair(chain.first.order, chain.second.order, int((scales < 1).sum()), gain))
    if not pairs:
        return Equalized(data, (), tuple(even), refused)
    changed = with_constants(data, values.changed)
    difference = largest_difference(data, changed, inputs, end_tensors(graph))
    if difference > TOLERANCE:
        first = {pair.first: f"the outputs would change by {difference:.1e}" for pair in pairs}
        return Equalized(data, (), tuple(even), {**refused, **first}, 0.0)
    return Equalized(changed, tuple(pairs), tuple(even), refused, difference)


@dataclass(frozen=True, slots=True)
class Chain:
    """Two convolutions with only channel-wise operators between them.

    Attributes:
        tensor: The tensor that the first convolution writes.
        relu6: Whether a ReLU6 lies between them.
    """

    first: Op
    second: Op
    tensor: int
    relu6: bool


def find_pairs(data: bytes, graph: Graph) -> tuple[list[Chain], dict[int, str]]:
    """(pairs that can be equalized, order of every other convolution -> the reason)."""
    options, unshared = operator_options(data), own_constants(data, graph)
    readers: dict[int, list[Op]] = {}
    for op in graph.ops:
        for index in dict.fromkeys(op.inputs):
            readers.setdefault(-1 if index is None else index, []).append(op)
    chains, refused = [], {}
    for op in graph.ops:
        if op.kind in CONVOLUTIONS:
            result = _chain(graph, op, options, unshared, readers)
            if isinstance(result, str):
                refused[op.order] = result
            else:
                chains.append(result)
    return chains, refused


def _chain(
    graph: Graph,
    first: Op,
    options: Sequence[Mapping[str, object]],
    unshared: frozenset[int],
    readers: Mapping[int, Sequence[Op]],
) -> Chain | str:
    """The pair whose first convolution is `first`, or the reason why there is none."""
    if not _changeable(first, unshared, readers, graph):
        return "its weights are shared or not stored as float32"
    tensor, op, relu6 = first.outputs[0], first, False
    while True:
        activation = options[op.order].get("fusedActivationFunction", "NONE")
        if activation not in ("NONE", "RELU", "RELU6"):
            return f"its activation is {activation}"
        relu6 |= activation == "RELU6"
        following = readers.get(tensor, ())
        if tensor in graph.outputs:
            return "its output leaves the network"
        if len(following) != 1:
            kinds = " and ".join(sorted({reader.kind for reader in following}))
            return f"{len(following)} operators read its output ({kinds})"
        (op,) = following
        if op.kind in CONVOLUTIONS:
            break
        relu6 |= op.kind == "RELU6"
        if op.kind not in CHANNELWISE | {"RELU6"}:
            return f"{op.kind} follows"
        tensor = op.outputs[0]
    if op.inputs[0] != tensor or not _changeable(op, unshared, readers, graph):
        return "the weights of the convolution that follows are shared or not stored as float32"
    if not _channels_fit(graph, first, op):
        return "the convolution that follows has groups"
    return Chain(first, op, first.outputs[0], relu6)


def _weights(graph: Graph, op: Op) -> Tensor:
    return graph.tensors[op.inputs[1] or 0]


def _changeable(op: Op, unshared: frozenset[int], readers: Mapping[int, Sequence[Op]], graph: Graph) -> bool:
    """Whether the operator's weights and bias are float32 constants that no other operator reads."""
    parts = [_weights(graph, op), *([bias] if (bias := bias_of(graph, op)) is not None else [])]
    return all(part.index in unshared and len(readers[part.index]) == 1 for part in parts)


def _channels_fit(graph: Graph, first: Op, second: Op) -> bool:
    channels, shape = graph.tensors[first.outputs[0]].shape[-1], _weights(graph, second).shape
    if second.kind == "DEPTHWISE_CONV_2D":
        return shape[-1] % channels == 0
    return shape[-1] == channels


def channel_ranges(
    data: bytes, inputs: Sequence[np.ndarray], tensors: Iterable[int]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Tensor -> (smallest, largest value of each channel on each input), both (inputs, channels). Raises ModelError."""
    runner, chosen = Runner(data), list(tensors)
    rows: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {tensor: [] for tensor in chosen}
    for values in inputs:
        runner.run([values])
        for tensor in chosen:
            array = runner.tensor(tensor)
            flat = array.reshape(-1, array.shape[-1])
            rows[tensor].append((flat.min(0), flat.max(0)))
    return {
        tensor: (np.stack([low for low, _ in row]), np.stack([high for _, high in row])) for tensor, row in rows.items()
    }


def _peaks(data: bytes, inputs: Sequence[np.ndarray], tensors: Iterable[int]) -> dict[int, np.ndarray]:
    """Tensor -> (channels,) largest absolute value of each channel over all inputs."""
    ranges = channel_ranges(data, inputs, tensors)
    return {tensor: np.maximum(np.abs(lows), np.abs(highs)).max(0) for tensor, (lows, highs) in ranges.items()}


class _Constants:
    """Weights and biases with the changes made so far; they accumulate, because a convolution may be in two pairs."""

    def __init__(self, data: bytes, graph: Graph) -> None:
        self._data, self._graph = data, graph
        self.changed: dict[int, np.ndarray] = {}

    def of(self, tensor: Tensor) -> np.ndarray:
        """The constant's value with the changes made so far."""
        if tensor.index not in self.changed:
            return stored_constant(self._data, tensor).astype(np.float32)
        return self.changed[tensor.index]

    def scale(self, chain: Chain, scales: np.ndarray) -> None:
        """Divide each channel's weights and bias by its scale in the first convolution; multiply them in the second."""
        weights, bias = _weights(self._graph, chain.first), bias_of(self._graph, chain.first)
        shape = (-1, 1, 1, 1) if chain.first.kind == "CONV_2D" else (1, 1, 1, -1)
        self.changed[weights.index] = self.of(weights) / scales.reshape(shape)
        if bias is not None:
            self.changed[bias.index] = self.of(bias) / scales
        second = _weights(self._graph, chain.second)
        self.changed[second.index] = self.of(second) * np.repeat(scales, second.shape[-1] // len(scales))

    def second(self, chain: Chain) -> np.ndarray:
        """The weights of the second convolution."""
        return self.of(_weights(self._graph, chain.second))


def _scales(chain: Chain, peaks: np.ndarray, values: _Constants) -> np.ndarray:
    """The number by which each channel is divided, (channels,), at most 1; 1 for channels always zero or never read."""
    top = float(peaks.max())
    alive = peaks > 0
    if not top > 0 or not np.isfinite(top):
        return np.ones(len(peaks), np.float32)
    share = np.where(alive, peaks / top, 1.0).astype(np.float64)
    scales = share
    if chain.second.kind == "CONV_2D":
        weights = np.abs(values.second(chain)).max((1, 2)).astype(np.float64)  # (outputs, channels)
        largest = weights.max(1, keepdims=True)
        column = (weights / np.where(largest > 0, largest, 1)).max(0)
        alive &= column > 0
        scales = np.sqrt(share / np.where(alive, column, 1.0))
        scales = scales / max(scales[alive].max(initial=0.0), 1e-12)
        scales = np.maximum(scales, share)  # no channel becomes larger than the largest one was
    if chain.relu6:
        scales = np.maximum(scales, np.minimum(1.0, peaks * (RELU6_ROOM / 6.0)))
    return np.where(alive, np.clip(scales, 1 / MAX_GAIN, 1.0), 1.0).astype(np.float32)
