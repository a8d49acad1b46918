"""Regions of a network in which all channels stay separate, so that they can be computed in two parts.

A region begins at a CONV_2D. Activation functions, pools, paddings and depthwise convolutions follow, and products and
sums of tensors of the region, such as SiLU = LOGISTIC and MUL. It ends at the convolutions that read its last tensor.

    CONV_2D -> x, LOGISTIC(x) -> g, MUL(x, g) -> y, CONV_2D(y)          channels of x, g and y stay separate

Nothing else may read one of its tensors: a residual sum, a concatenation or an output of the network would need all
channels in one tensor, and so on one scale. A depthwise convolution is split with the convolution before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qviz.features.building.equalize import CHANNELWISE, CONVOLUTIONS
from qviz.features.building.recipes import bias_of, weights_of
from qviz.structures import Graph, Op

UNARY = CHANNELWISE | {"RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ELU", "GELU", "HARD_SWISH", "LOGISTIC", "TANH", "ABS"}
"""Operators with one data input that compute each channel from the same channel."""
COMBINING = frozenset({"ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM", "PRELU"})
"""Operators that do so with two inputs. Constants have one value, or one per channel in their last dimension."""
SUMMABLE = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
"""Fused activations that an ADD can have."""
IN_GROUPS = "it is a convolution with groups"


@dataclass(frozen=True, slots=True)
class Region:
    """Operators between which channels can be computed in two parts.

    Attributes:
        first: The convolution that writes the channels.
        inner: Operators that compute each channel by itself, in the order of the network.
        ends: The convolutions that read the channels.
        repeats: Tensor of the region -> how many of its channels come from one channel of `first`; above 1 after a
            depthwise convolution with a multiplier.
    """

    first: Op
    inner: tuple[Op, ...]
    ends: tuple[Op, ...]
    repeats: Mapping[int, int]

    @property
    def orders(self) -> list[int]:
        """Indices of all operators, in the order of the network."""
        return sorted(op.order for op in (self.first, *self.inner, *self.ends))


def find_regions(graph: Graph, options: Sequence[Mapping[str, object]]) -> tuple[list[Region], dict[int, str]]:
    """(all regions, order of every convolution in none of them -> the reason).

    options: of the operators, as `operator_options` returns them.
    """
    readers: dict[int, set[int]] = {}
    for op in graph.ops:
        for index in op.inputs:
            if index is not None:
                readers.setdefault(index, set()).add(op.order)
    regions, refused = [], {}
    for op in graph.ops:
        if op.kind == "CONV_2D":
            result = _region(graph, op, options, readers)
            if isinstance(result, str):
                refused[op.order] = result
            else:
                regions.append(result)
    inside = {op.order for region in regions for op in region.inner}
    for op in graph.ops:
        if op.kind == "DEPTHWISE_CONV_2D" and op.order not in inside:
            refused[op.order] = "the channels that it reads cannot be computed in two parts"
    return regions, refused


def _region(
    graph: Graph, first: Op, options: Sequence[Mapping[str, object]], readers: Mapping[int, set[int]]
) -> Region | str:
    """The region that begins at a convolution, or the reason why there is none."""
    if reason := _unsuitable(graph, first):
        return reason
    channels = graph.tensors[first.outputs[0]].shape[-1]
    if channels < 2:
        return "it writes a single channel"
    repeats = {first.outputs[0]: 1}
    waiting = set(readers.get(first.outputs[0], ()))
    inner, ends = [], []
    while waiting:
        op = graph.ops[min(waiting)]
        waiting.remove(op.order)
        if op.kind == "CONV_2D":
            if reason := _unsuitable(graph, op, options[op.order]):
                return f"the convolution that follows cannot be split: {reason}"
            ends.append(op)
            continue
        if reason := _mixes_channels(graph, op, repeats):
            return reason
        inner.append(op)
        repeats[op.outputs[0]] = graph.tensors[op.outputs[0]].shape[-1] // channels
        waiting |= readers.get(op.outputs[0], set())
    if repeats.keys() & set(graph.outputs):
        return "its output leaves the network"
    return Region(first, tuple(inner), tuple(ends), repeats) if ends else "no convolution follows"


def _unsuitable(graph: Graph, op: Op, options: Mapping[str, object] | None = None) -> str:
    """The reason why a convolution's weights cannot be split; empty if they can.

    options: of a convolution whose input channels are to be split. Its activation then moves to the sum of the parts.
    """
    weights, bias = weights_of(graph, op), bias_of(graph, op)
    source = graph.tensors[op.inputs[0] or 0]
    if weights is None or any(part.dtype != "float32" or not part.constant for part in (weights, bias) if part):
        return "its weights are not stored as float32"
    if op.inputs.count(op.inputs[0]) > 1 or source.constant:
        return "its input is a constant"
    if op.kind == "CONV_2D" and weights.shape[-1] != source.shape[-1]:
        return IN_GROUPS
    activation = "NONE" if options is None else options.get("fusedActivationFunction", "NONE")
    return "" if activation in SUMMABLE else f"its activation is {activation}"


def _mixes_channels(graph: Graph, op: Op, repeats: Mapping[int, int]) -> str:
    """The reason why an operator does not compute each channel by itself; empty if it does."""
    data = [index for index in op.inputs if index is not None and not graph.tensors[index].constant]
    channels = {graph.tensors[index].shape[-1] for index in data}
    if op.kind not in UNARY | COMBINING | CONVOLUTIONS or len(op.outputs) != 1:
        return f"{op.kind} follows"
    if not set(data) <= repeats.keys():
        return f"{op.kind} with another tensor follows"
    output = graph.tensors[op.outputs[0]].shape[-1]
    if len(channels) != 1 or len({graph.tensors[index].shape for index in data}) != 1:
        return f"{op.kind} of different shapes follows"
    (width,) = channels
    if op.kind == "DEPTHWISE_CONV_2D":
        fits = output % width == 0 and op.inputs[0] in repeats
        return _unsuitable(graph, op) or ("" if fits else f"{op.kind} with other channels follows")
    constants = (graph.tensors[index] for index in op.inputs if index is not None and graph.tensors[index].constant)
    if op.kind in COMBINING and any(part.shape and part.shape[-1] not in (1, width) for part in constants):
        return f"{op.kind} with other channels follows"
    return "" if output == width else f"{op.kind} follows, which changes the number of channels"
