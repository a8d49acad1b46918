"""Weights and biases of a variant's operators against FP32's, in one worker.

Weights are coarse where their SQNR (dB, higher is better) lies below the median of the network's layers by COARSE_DB
and by 3 robust standard deviations (1.4826 times the median absolute deviation). An int32 bias stands for
scale of the input * scale of the weights (one a channel) * integer: that is what the kernels add, whatever scale the
file notes for it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks
from qviz.analysis.tensor_error import sqnr_db
from qviz.analysis.trace_cause import COARSE_DB, WeightFacts
from qviz.engine import Blob
from qviz.structures import Graph, Op, Tensor
from qviz.tflite.constants import stored_constant

BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Which input of an operator is its bias."""


class OperatorConstants:
    """Those of two networks; files are read only where a bias is asked for."""

    def __init__(self, networks: PairedNetworks, blobs: tuple[Blob, Blob]) -> None:
        self._networks, self._blobs = networks, blobs
        self._weights = _weight_sqnrs(networks)
        found = np.array(list(self._weights.values()) or [0.0])
        self._usual = float(np.median(found))
        deviation = 1.4826 * float(np.median(np.abs(found - self._usual)))
        self._coarse = self._usual - max(COARSE_DB, 3 * deviation)

    def weights(self, op: Op) -> WeightFacts | None:
        """None where the operator has none, or they equal FP32's."""
        found = self._weights.get(op.order)
        return None if found is None else WeightFacts(found, self._usual, self._coarse)

    def bias_error(self, op: Op) -> np.ndarray | None:
        """(channels,) real values, the variant's minus FP32's; None where either has none, or FP32 keeps it apart."""
        pair = self._networks.pair_of.get(op.order)
        if pair is None or op.kind not in BIAS:
            return None
        other = self._networks.reference.graph.ops[pair.reference_order]
        if pair.reference_tensor not in other.outputs or other.kind != op.kind:
            return None
        exact, own = self._real_bias(0, other), self._real_bias(1, op)
        return own - exact if exact is not None and own is not None and exact.shape == own.shape else None

    def _real_bias(self, side: int, op: Op) -> np.ndarray | None:
        stepper = (self._networks.reference, self._networks.variant)[side]
        index = op.inputs[BIAS[op.kind]] if len(op.inputs) > BIAS[op.kind] else None
        if index is None or index in stepper.folded:
            return None if index is None else stepper.folded[index]
        tensor = stepper.graph.tensors[index]
        if not tensor.constant:
            return None
        stored = stored_constant(self._blobs[side].read(), tensor)
        return stored * _product_scale(stepper.graph, op, tensor)


def _product_scale(graph: Graph, op: Op, bias: Tensor) -> np.ndarray | float:
    """Of one unit of an integer bias: (channels,) or one."""
    if bias.dtype not in ("int32", "int64"):
        return 1.0
    read, weights = (graph.tensors[index].quantization for index in _data_and_weights(op))
    if read is None or weights is None:
        return bias.quantization.scales if bias.quantization is not None else 1.0
    return np.asarray(read.scales[0].astype(np.float64) * weights.scales)


def _data_and_weights(op: Op) -> tuple[int, int]:
    places = (2, 1) if op.kind == "TRANSPOSE_CONV" else (0, 1)
    first, second = (op.inputs[place] for place in places)
    assert first is not None and second is not None, "an operator with a bias reads data and weights"
    return first, second


def _weight_sqnrs(networks: PairedNetworks) -> Mapping[int, float]:
    """order -> SQNR of the weights, where they differ from the partner's and have its shape."""
    found = {}
    for order, pair in networks.pair_of.items():
        first = networks.reference_weights.get(pair.reference_order)
        second = networks.variant_weights.get(order)
        if first is None or second is None or first.shape != second.shape:
            continue
        if networks.variant.graph.ops[order].kind not in CONVERSIONS and (value := sqnr_db(first, second)) is not None:
            found[order] = value
    return found
