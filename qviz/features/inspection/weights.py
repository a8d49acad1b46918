"""Compare the weights of a variant with those of the reference, layer by layer, in steps of the variant's scales.

rounded    within one step (rounding by GPTQ or AdaRound included)
rescaled   within one step, after one factor per output or input channel: a folded multiplication, equalization
trained    a few steps away: quantization-aware training
reversed   within one step once the input channels are reversed: BGR against RGB
permuted   within one step once the output channels are reordered: another order of classes
other      anything else: not the weights of this layer
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.engine import Blob
from qviz.structures import Graph
from qviz.tflite.constants import operator_weights, weight_tensors
from qviz.tflite.pairing import pair_layers
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import WEIGHT_KINDS

STEPS = 1.0
"""Largest error of a rounded weight in steps; it is 0.5 for rounding to nearest, and up to 1 for GPTQ or a second
rounding."""
TOLERANCE = 1e-3
"""An error may exceed STEPS by this many steps, because float arithmetic is not exact."""
TRAINED_RMS, TRAINED_COSINE = 3.0, 0.98
"""Largest root mean square error, in steps of 8 bits, and smallest cosine after quantization-aware training."""
MIN_PER_FACTOR = 4
"""Minimum number of weights per fitted factor. With fewer weights, the factors would fit any weights."""
MIN_PAIRED = 0.5
"""At least this share of the reference's layers with weights must have a partner of the same shape."""
MAX_CHANNELS = 4096
"""Maximum number of output channels for which another order is searched."""
_LARGEST_INTEGER = {"int8": 127, "uint8": 127, "int4": 7, "int2": 1}


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The comparison of a layer's weights with its partner's.

    Attributes:
        order: The operator's index in the variant's file.
        kind: `rounded`, `rescaled`, `trained`, `reversed`, `permuted` or `reference_values`.
        steps: Largest error in steps.
    """

    order: int
    kind: str
    steps: float


@dataclass(frozen=True, slots=True)
class WeightComparison:
    """The comparison of all layers that have weights in both files.

    Attributes:
        layers: Number of layers with weights in the reference.
        compared: One entry per layer that has weights in both files.
    """

    layers: int
    compared: tuple[LayerWeights, ...]

    @property
    def enough(self) -> bool:
        """Whether enough layers have a partner to judge the whole network."""
        return bool(self.compared) and len(self.compared) >= MIN_PAIRED * self.layers


def compare_weights_job(reference: Blob, variant: Blob) -> WeightComparison:
    """Compare, in a worker, every layer that has weights in both files. Raises ModelError."""
    first, second = reference.read(), variant.read()
    graphs = read_graph(first), read_graph(second)
    weights = operator_weights(first, graphs[0]), operator_weights(second, graphs[1])
    weighted = [_weighted(graph, values) for graph, values in zip(graphs, weights, strict=True)]
    partners = {pair.order: pair.reference_order for pair in pair_layers(*graphs, *weights).pairs}
    pairs = [(order, partners[order]) for order in weighted[1] if partners.get(order) in weighted[0]]
    if len(pairs) < MIN_PAIRED * len(weighted[0]):  # the graphs differ, e.g. in the input size
        pairs = list(_in_order(weighted, weights))
    entry = weighted[1][0] if weighted[1] else None
    compared = []
    for order, partner in pairs:
        variant_values, reference_values = weights[1][order], weights[0][partner]
        if variant_values.shape == reference_values.shape and variant_values.size:
            scale, clipped = _scale_of(graphs[1], order, variant_values)
            if weight_tensors(graphs[0])[partner].quantized:  # then the reference is rounded as well
                scale = np.maximum(scale, _scale_of(graphs[0], partner, reference_values)[0])
            kind, steps = compare_layer(reference_values, variant_values, scale, clipped, is_entry=order == entry)
            compared.append(LayerWeights(order, kind, steps))
    return WeightComparison(len(weighted[0]), tuple(compared))


def _weighted(graph: Graph, weights: dict[int, np.ndarray]) -> list[int]:
    return [op.order for op in graph.ops if op.order in weights and op.kind in WEIGHT_KINDS]


def _in_order(weighted: Sequence[Sequence[int]], weights: Sequence[dict[int, np.ndarray]]) -> Iterator[tuple[int, int]]:
    """Pairs of layers in the order of the files, if the sequences of shapes are equal; otherwise nothing."""
    first, second = weighted
    shapes = [[weights[side][order].shape for order in weighted[side]] for side in (0, 1)]
    if shapes[0] == shapes[1]:
        yield from zip(second, first, strict=True)


def _scale_of(graph: Graph, order: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(step of each weight, whether the weight is at the end of its range), both in the shape of the weights.

    For float weights, the step is the one that 8-bit quantization would give them.
    """
    tensor = weight_tensors(graph)[order]
    quantization = tensor.quantization
    if not tensor.quantized or quantization is None:
        return np.full(values.shape, max(float(np.abs(values).max()), 1e-30) / 127), np.zeros(values.shape, bool)
    shape = [1] * values.ndim
    if quantization.per_channel and quantization.axis is not None:
        shape[quantization.axis] = -1
    scale = np.maximum(np.abs(quantization.scales.astype(np.float64)), 1e-30).reshape(shape)
    largest = _LARGEST_INTEGER.get(tensor.dtype, 127)
    return np.broadcast_to(scale, values.shape), np.abs(values / scale) >= largest - 0.5


def compare_layer(
    reference: np.ndarray, variant: np.ndarray, scale: np.ndarray, clipped: np.ndarray, is_entry: bool = False
) -> tuple[str, float]:
    """(kind, largest error in steps) of one layer.

    Args:
        reference, variant: (...) real weights of one shape, output channels first, input channels last.
        scale: (...) step of each of the variant's weights.
        clipped: (...) bool, whether a weight is at the end of its range and may have been clipped.
        is_entry: Whether the layer reads the image.
    """

    def steps(candidate: np.ndarray) -> np.ndarray:
        beyond = clipped & (np.abs(candidate) >= np.abs(variant)) & (candidate * variant > 0)
        return np.where(beyond, 0.0, np.abs(variant - candidate) / scale)

    def fits(candidate: np.ndarray | None) -> bool:
        return candidate is not None and float(steps(candidate).max()) <= STEPS + TOLERANCE

    errors = steps(reference)
    largest = float(errors.max())
    if fits(reference):
        return "rounded", largest
    if is_entry and reference.ndim == 4 and reference.shape[-1] == 3 and fits(reference[..., ::-1]):
        return "reversed", largest
    if fits(_reordered(reference, variant)):
        return "permuted", largest
    if fits(_rescaled(reference, variant)):
        return "rescaled", largest
    cosine = float((reference * variant).sum() / max(np.linalg.norm(reference) * np.linalg.norm(variant), 1e-30))
    step_of_8_bits = float(np.abs(variant).max() / 127 / np.median(scale))  # in steps of this layer
    close = np.sqrt(np.mean(errors**2)) <= max(1.0, TRAINED_RMS * min(1.0, step_of_8_bits))
    return ("trained" if close and cosine >= TRAINED_COSINE else "other"), largest


def _reordered(reference: np.ndarray, variant: np.ndarray) -> np.ndarray | None:
    """The reference's weights with output channels in the order nearest to the variant's; None if that is unchanged."""
    count = reference.shape[0]
    if not 1 < count <= MAX_CHANNELS:
        return None
    first, second = (values.reshape(count, -1).astype(np.float64) for values in (reference, variant))
    distances = (second**2).sum(1)[:, None] + (first**2).sum(1)[None, :] - 2 * second @ first.T
    order = distances.argmin(axis=1)
    is_permutation = len(set(order.tolist())) == count and not np.array_equal(order, np.arange(count))
    return reference[order] if is_permutation else None


def _rescaled(reference: np.ndarray, variant: np.ndarray) -> np.ndarray | None:
    """The reference's weights, multiplied by factors per output and per input channel that fit the variant best.

    The factors are found by alternating least squares. A layer with few weights per factor gets a single factor for all
    its weights. None if a factor is negative.
    """
    rows, columns = reference.shape[0], reference.shape[-1]
    if reference.ndim < 2 or reference.size < MIN_PER_FACTOR * (rows + columns):
        factor = float((reference * variant).sum() / max(float((reference**2).sum()), 1e-30))
        return reference * factor if factor > 0 and reference.size >= MIN_PER_FACTOR else None
    first, second = (values.reshape(rows, -1, columns).astype(np.float64) for values in (reference, variant))
    inward = np.ones(columns)
    for _ in range(5):
        scaled = first * inward
        outward = (scaled * second).sum((1, 2)) / np.maximum((scaled**2).sum((1, 2)), 1e-30)
        scaled = first * outward[:, None, None]
        inward = (scaled * second).sum((0, 1)) / np.maximum((scaled**2).sum((0, 1)), 1e-30)
    if (outward < 0).any() or (inward < 0).any():
        return None
    return (first * outward[:, None, None] * inward).reshape(reference.shape)
