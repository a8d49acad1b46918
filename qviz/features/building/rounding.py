"""Round weights so that the error of each convolution's output is small, instead of the error of each weight.

A weight between two integers may be rounded up or down. Here the weights of a convolution are rounded one after
another. After each one, the weights that are not rounded yet are changed to compensate its error. Order and formula
are those of GPTQ (arXiv 2210.17323), for all output channels at once:

    minimise |X (W - Q)|^2     X: inputs of the convolution on images, one row per output position (im2col)
                               W: float32 weights; Q: integers times scale

If the bias is float32 (dynamic-range and weight-only files), smaller scales per output channel are tried first: with 4
bits, clipping the largest weight often costs less than a coarser step for all. If the bias is an integer, its step
depends on the weights' scale, so the scale is not changed.

A layer gets its new weights only if its SQNR on held-out images grows by at least `MIN_GAIN_DB`. No labels are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

import numpy as np

from qviz.features.building.biases import partners
from qviz.features.building.gptq import rounded, smaller_scales
from qviz.features.building.recipes import bias_of
from qviz.features.building.source import with_unique_tensor_names
from qviz.features.building.windows import sampled_rows
from qviz.formatting import plural
from qviz.structures import Graph, Op, Tensor
from qviz.tflite.constants import operator_options, stored_constant, weight_tensors
from qviz.tflite.edit import packed, set_constant, unpacked
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

T = TypeVar("T")

MIN_GAIN_DB = 1.0
FINE_DB = 40.0
"""A layer with at least this SQNR, in dB, is not changed, because the error of 8-bit activations is larger."""
KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
LARGEST_INTEGER = {"int8": 127, "int4": 7}
ROWS = 4096
"""Number of output positions, over all images, used to choose a layer's integers; half as many more are held out."""
MAX_BYTES = 1 << 28
"""Maximum memory, in bytes, for the rows of a group of layers. The network is run once per group."""


@dataclass(frozen=True, slots=True)
class RoundedLayer:
    """A convolution whose integers were changed.

    Attributes:
        order: Index of the operator in the variant.
        tensor: Name of the tensor that it writes.
        gain_db: Growth of the SQNR of its output on held-out images, if only its weights are quantized.
        changed: Share of its weights whose integer changed, in [0, 1].
    """

    order: int
    tensor: str
    gain_db: float
    changed: float


@dataclass(frozen=True, slots=True)
class Rounded:
    """The result of `round_weights`.

    Attributes:
        data: The changed file; the given bytes if no layer gained enough.
        layers: The layers that were changed.
        left: Number of convolutions with quantized weights that were not changed.
    """

    data: bytes = field(repr=False)
    layers: tuple[RoundedLayer, ...] = ()
    left: int = 0

    def __str__(self) -> str:
        gains = [layer.gain_db for layer in self.layers]
        more = f"; their output SQNR rose by {np.median(gains):.1f} dB (median)" if gains else ""
        return f"Rounding changed the weights of {len(gains)} of {plural(len(gains) + self.left, 'convolution')}{more}."


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution: `op` in the variant, `float_op` in the float file, and the constants with their weights."""

    op: Op
    float_op: Op
    weights: Tensor
    float_weights: Tensor


def round_weights(data: bytes, float_data: bytes, inputs: Sequence[np.ndarray]) -> Rounded:
    """Choose new integers for the weights of a variant's convolutions.

    Args:
        data: A quantized file that was built from `float_data`, with the same operators apart from conversions.
        float_data: The float32 file.
        inputs: The network's input for at least two images; every third image is held out.

    Raises:
        ModelError: A file cannot be read or run.
        ValueError: There are fewer than two inputs.
    """
    if len(inputs) < 2:
        raise ValueError("rounding needs the inputs of at least two images: some are held out")
    graph, float_graph = read_graph(data), with_unique_tensor_names(read_graph(float_data))
    layers = _layers(graph, float_graph)
    options = operator_options(float_data)
    model, changed = unpacked(data), []
    for group in in_groups(layers, _bytes_of_rows, MAX_BYTES):
        rows = _rows(float_data, group, options, inputs)
        for layer in group:
            result = _round_layer(data, float_data, graph, layer, *rows.pop(layer.op.order))
            if result is not None:
                report, integers, scales = result
                set_constant(model, layer.weights.index, _stored(integers, layer.weights.dtype), scales)
                changed.append(report)
    if not changed:
        return Rounded(data, (), len(layers))
    return Rounded(packed(model), tuple(changed), len(layers) - len(changed))


def _layers(graph: Graph, float_graph: Graph) -> list[_Layer]:
    """The convolutions, in both files, whose integer weights have one scale per output channel."""
    constants, layers = weight_tensors(graph), []
    readers: dict[int, int] = {}
    for index in (index for op in graph.ops for index in op.inputs if index is not None):
        readers[index] = readers.get(index, 0) + 1
    for order, float_op in partners(graph, float_graph):
        op, weights = graph.ops[order], constants.get(order)
        float_weights = float_graph.tensors[float_op.inputs[1] or 0] if op.kind in KINDS else None
        if weights is None or float_weights is None or not float_weights.constant or readers[weights.index] > 1:
            continue
        same = (float_weights.dtype, float_weights.shape) == ("float32", weights.shape)
        if same and _is_integer(weights) and _reads_all_channels(float_graph, float_op, weights):
            layers.append(_Layer(op, float_op, weights, float_weights))
    return layers


def _is_integer(weights: Tensor) -> bool:
    """Whether the weights are an int8 or int4 constant with one scale per output channel."""
    per_channel = weights.quantization is not None and weights.quantization.per_channel
    return weights.constant and weights.dtype in LARGEST_INTEGER and per_channel


def _reads_all_channels(graph: Graph, op: Op, weights: Tensor) -> bool:
    """Whether the convolution has no groups, so that its weights have as many channels as its input."""
    channels, side = graph.tensors[op.inputs[0] or 0].shape[-1], weights.shape[-1]
    return channels > 0 and (side % channels == 0 if op.kind == "DEPTHWISE_CONV_2D" else side == channels)


def _bytes_of_rows(layer: _Layer) -> int:
    """Memory for the rows of a layer: float32, one and a half times ROWS."""
    return 6 * ROWS * prod(layer.weights.shape[1:])


def in_groups(items: Iterable[T], cost: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Divide items into groups whose costs add up to at most `limit`; each group has at least one item."""
    group: list[T] = []
    size = 0
    for item in items:
        if group and size + cost(item) > limit:
            yield group
            group, size = [], 0
        group.append(item)
        size += cost(item)
    if group:
        yield group


def _rows(
    float_data: bytes, group: Sequence[_Layer], options: Sequence[Mapping[str, object]], inputs: Sequence[np.ndarray]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Order in the variant -> (rows to choose the integers on, held-out rows), each (positions, window, channels)."""
    runner, random = Runner(float_data), np.random.default_rng(0)
    each = max(1, ROWS // max(1, len(inputs) - len(inputs) // 3))
    parts: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {layer.op.order: ([], []) for layer in group}
    for number, values in enumerate(inputs):
        runner.run([values])
        for layer in group:
            tensor = runner.tensor(layer.float_op.inputs[0] or 0)
            window = layer.float_weights.shape[1:3]
            rows = sampled_rows(tensor, window, options[layer.float_op.order], each, random)
            parts[layer.op.order][number % 3 == 1].append(rows)
    return {
        order: (np.concatenate(chosen), np.concatenate(validation)) for order, (chosen, validation) in parts.items()
    }


def _round_layer(
    data: bytes, float_data: bytes, graph: Graph, layer: _Layer, chosen: np.ndarray, validation: np.ndarray
) -> tuple[RoundedLayer, np.ndarray, np.ndarray] | None:
    """(what changed, integers in the shape of the file, scales); None where the layer gains too little."""
    quantization = layer.weights.quantization
    assert quantization is not None
    scales, largest = quantization.scales.astype(np.float64), LARGEST_INTEGER[layer.weights.dtype]
    depthwise = layer.op.kind == "DEPTHWISE_CONV_2D"
    real = stored_constant(float_data, layer.float_weights)
    before = stored_constant(data, layer.weights)
    problem = [_as_batches(values, depthwise, chosen.shape[-1]) for values in (real, before)]
    weights, integers = (values.astype(np.float64) for values in problem)
    batch_scales = scales.reshape(weights.shape[:2])
    energy = _energy(weights, validation, depthwise)
    error = _energy(weights - integers * batch_scales[..., None], validation, depthwise)
    if not np.isfinite(energy) or error * 10 ** (FINE_DB / 10) <= energy:
        return None
    moments = _moments(chosen, depthwise)
    if not np.isfinite(moments).all():
        return None
    new_scales = batch_scales
    if not _has_integer_bias(graph, layer.op):
        new_scales = smaller_scales(weights, moments, batch_scales, largest)
    result = rounded(weights, moments, new_scales, largest)
    new_error = _energy(weights - result * new_scales[..., None], validation, depthwise)
    if not 0 < new_error < error * 10 ** (-MIN_GAIN_DB / 10):
        return None
    report = RoundedLayer(
        layer.op.order,
        graph.tensors[layer.op.outputs[0]].name,
        float(10 * np.log10(error / new_error)),
        float((result != integers).mean()),
    )
    return report, _as_stored(result, depthwise, before.shape), new_scales.reshape(-1)


def _has_integer_bias(graph: Graph, op: Op) -> bool:
    bias = bias_of(graph, op)
    return bias is not None and bias.dtype != "float32"


def _as_batches(weights: np.ndarray, depthwise: bool, channels: int) -> np.ndarray:
    """(problems, outputs, inputs): one problem for a convolution, one per input channel for a depthwise one."""
    if not depthwise:
        return weights.reshape(1, len(weights), -1)
    return weights.reshape(-1, channels, weights.shape[-1] // channels).transpose(1, 2, 0)


def _as_stored(integers: np.ndarray, depthwise: bool, shape: tuple[int, ...]) -> np.ndarray:
    return (integers.transpose(2, 0, 1) if depthwise else integers).reshape(shape).astype(np.int8)


def _moments(rows: np.ndarray, depthwise: bool) -> np.ndarray:
    """X'X of each problem, (problems, inputs, inputs) float64. rows: (positions, window, channels)."""
    if not depthwise:
        flat = rows.reshape(len(rows), -1)
        return (flat.T @ flat)[None].astype(np.float64)
    channels = rows.transpose(2, 1, 0)
    return (channels @ channels.transpose(0, 2, 1)).astype(np.float64)


def _energy(weights: np.ndarray, rows: np.ndarray, depthwise: bool) -> float:
    """Sum of the squared outputs. weights: (problems, outputs, inputs); rows: (positions, window, channels)."""
    inputs = rows.transpose(2, 0, 1) if depthwise else rows.reshape(1, len(rows), -1)
    outputs = inputs @ weights.transpose(0, 2, 1).astype(np.float32)
    return float(np.square(outputs, dtype=np.float64).sum())


def _stored(integers: np.ndarray, dtype: str) -> np.ndarray:
    """The integers as the file stores them: int8 unchanged, int4 packed in pairs, the first in the low half."""
    if dtype != "int4":
        return integers
    fields = integers.reshape(-1).astype(np.uint8) & 15
    fields = np.append(fields, np.zeros(len(fields) % 2, np.uint8))
    return fields[::2] | fields[1::2] << 4
