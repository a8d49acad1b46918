"""Weights and biases of the operators of two networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from qviz.features.layer_error.figures import FINE_WEIGHTS_DB, stored_weights, worst_weight_channel
from qviz.features.layer_error.tensor_error import sqnr_db
from qviz.features.tracing.evidence import WeightFacts
from qviz.structures import Graph, Op, Tensor
from qviz.structures.graph import BIAS_INPUT, OUTPUT_AXES
from qviz.tflite.constants import stored_constant
from qviz.tflite.paired_networks import Pair, PairedNetworks

COARSE_DB: Final = 10.0
MIN_WEIGHTS_DB: Final = 25.0
"""Weights with a lower SQNR are always coarse (4 bits give about 20 dB); above FINE_WEIGHTS_DB they never are."""


class OperatorConstants:
    """Weights and biases of two networks. The files are read only if a bias is requested."""

    def __init__(self, networks: PairedNetworks, pair: Pair) -> None:
        self._networks, self._blobs = networks, (pair.reference, pair.variant)
        self._weights = _weight_sqnrs(networks)
        values = np.array(list(self._weights.values()) or [0.0])
        self._median = float(np.median(values))
        deviation = 1.4826 * float(np.median(np.abs(values - self._median)))
        self._coarse = float(np.clip(self._median - max(COARSE_DB, 3 * deviation), MIN_WEIGHTS_DB, FINE_WEIGHTS_DB))

    def weights(self, op: Op) -> WeightFacts | None:
        """How accurate an operator's weights are; None if the operator has no weights, or if they equal FP32's."""
        value, weights = self._weights.get(op.order), self._networks.weights(op)
        if value is None or weights is None:
            return None
        facts = WeightFacts(value, self._median, self._coarse)
        channel = worst_weight_channel(self._networks, op)
        if channel is None:
            return facts
        worst, decibels = channel
        stored = stored_weights(self._networks.variant.graph, op, weights[1].shape)
        return replace(
            facts,
            channel=worst,
            channel_db=decibels,
            zeroed=not np.take(weights[1], worst, OUTPUT_AXES[op.kind]).any(),
            per_tensor=stored is not None and stored.per_tensor is not None,
        )

    def bias_error(self, op: Op) -> np.ndarray | None:
        """(channels,) real bias minus FP32's.

        None if one of the operators has no bias, or if FP32 adds the bias in a separate operator.
        """
        pair = self._networks.pair_of.get(op.order)
        if pair is None or op.kind not in BIAS_INPUT:
            return None
        other = self._networks.reference.graph.ops[pair.reference_order]
        if pair.reference_tensor not in other.outputs or other.kind != op.kind:
            return None
        exact, actual = self._real_bias(0, other), self._real_bias(1, op)
        return actual - exact if exact is not None and actual is not None and exact.shape == actual.shape else None

    def _real_bias(self, side: int, op: Op) -> np.ndarray | None:
        stepper = (self._networks.reference, self._networks.variant)[side]
        index = op.inputs[BIAS_INPUT[op.kind]] if len(op.inputs) > BIAS_INPUT[op.kind] else None
        if index is None or index in stepper.folded:
            return None if index is None else stepper.folded[index]
        tensor = stepper.graph.tensors[index]
        if not tensor.constant:
            return None
        stored = stored_constant(self._blobs[side].read(), tensor)
        return stored * _product_scale(stepper.graph, op, tensor)


def _product_scale(graph: Graph, op: Op, bias: Tensor) -> np.ndarray | float:
    """Real value of one unit of an integer bias: (channels,) or a single number."""
    if bias.dtype not in ("int32", "int64"):
        return 1.0
    read, weights = (graph.tensors[index].quantization for index in _data_and_weights(op))
    if read is None or weights is None:
        return bias.quantization.scales if bias.quantization is not None else 1.0
    return np.asarray(read.scales[0].astype(np.float64) * weights.scales)


def _data_and_weights(op: Op) -> tuple[int, int]:
    positions = (2, 1) if op.kind == "TRANSPOSE_CONV" else (0, 1)
    first, second = (op.inputs[position] for position in positions)
    assert first is not None and second is not None, "an operator with a bias reads data and weights"
    return first, second


def _weight_sqnrs(networks: PairedNetworks) -> Mapping[int, float]:
    """Operator -> SQNR of its weights in dB, for weights that differ from the partner's and have the same shape."""
    both = {order: networks.weights(networks.variant.graph.ops[order]) for order in networks.pair_of}
    values = {order: sqnr_db(*weights) for order, weights in both.items() if weights is not None}
    return {order: value for order, value in values.items() if value is not None}
