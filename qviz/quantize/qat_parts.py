"""The network under training: which constants and which activations are quantized, as the recipe will quantize them.

Weights that several operators read are trained once. A constant that shares its bytes with another tensor of the file
is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from qviz.quantize.fake_quant import WIDEST_FAKE, Bias, Range, Weights
from qviz.quantize.ranges import Calibration
from qviz.quantize.recipes import Recipe
from qviz.structures import Graph, Op

CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}
BIAS_AT = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
PASS_ON = frozenset({
    "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SPLIT", "SPLIT_V", "UNPACK", "SLICE", "STRIDED_SLICE", "GATHER",
    "MAX_POOL_2D", "PAD", "PADV2", "MIRROR_PAD", "RESIZE_NEAREST_NEIGHBOR",
})  # fmt: skip
"""Operators whose outputs keep the scale of their input."""
FIXED = {"LOGISTIC": (0.0, 255 / 256), "SOFTMAX": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128)}
"""Ranges that TensorFlow Lite's integer kernels prescribe."""


class FakeQuantized:
    """The `Parts` of a network that computes as the quantized one will.

    weights, biases, ranges: what is trained, by the tensor's index.
    """

    def __init__(
        self, tf: Any, graph: Graph, recipe: Recipe, calibration: Calibration | None, own: Collection[int]
    ) -> None:
        self._tf, self._graph, self._recipe, self._own = tf, graph, recipe, own
        self._known = calibration.ranges if calibration is not None else {}
        self._makers = {index: op for op in graph.ops for index in op.outputs}
        self.weights: dict[int, Weights] = {}
        self.biases: dict[int, Bias] = {}
        self.ranges: dict[int, Range] = {}

    def constant(self, op: Op, position: int, values: np.ndarray) -> Callable[[], Any]:
        index = op.inputs[position]
        if index in self._own and op.kind in CHANNEL_AXIS and index is not None:
            name = f"tensor_{index}"
            if position == 1:
                bits = self._recipe.weight_bits if op.kind in self._recipe.kinds else 8
                if index not in self.weights:
                    self.weights[index] = Weights(self._tf, values, CHANNEL_AXIS[op.kind], bits, name)
                return _Owner(self.weights[index])
            if position == BIAS_AT[op.kind]:
                if index not in self.biases:
                    self.biases[index] = Bias(self._tf, values, name)
                return _Owner(self.biases[index])
        return lambda: values

    def activation(self, index: int) -> Callable[[Any], Any] | None:
        bits = self._recipe.activation_bits
        maker = self._makers.get(index)
        name = self._graph.tensors[index].name
        if bits is None or bits > WIDEST_FAKE or (maker is not None and maker.kind in PASS_ON):
            return None
        if maker is not None and maker.kind in FIXED:
            low, high = FIXED[maker.kind]
            return lambda x: self._tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=bits)
        if name not in self._known:
            return None
        self.ranges[index] = Range(self._tf, *self._known[name], bits, f"tensor_{index}")
        return self.ranges[index]

    @property
    def variables(self) -> list[Any]:
        """All that is trained, in one order for one network."""
        parts: list[Weights | Bias | Range] = [*self.weights.values(), *self.biases.values(), *self.ranges.values()]
        return [variable for part in parts for variable in part.variables]

    def constants(self) -> dict[int, np.ndarray]:
        """Tensor index -> what the trained file holds: weights on their grid, biases."""
        found: list[tuple[int, Weights | Bias]] = [*self.weights.items(), *self.biases.items()]
        return {index: np.asarray(part.value(), np.float32) for index, part in found}

    def moved_ranges(self) -> dict[str, tuple[float, float]]:
        """Tensor name -> trained range."""
        ends = {index: part.ends() for index, part in self.ranges.items()}
        return {self._graph.tensors[i].name: (float(low), float(high)) for i, (low, high) in ends.items()}


class _Owner:
    """A constant as a layer reads it, with the variables that the layer then owns."""

    def __init__(self, part: Weights | Bias) -> None:
        self.variables, self._part = part.variables, part

    def __call__(self) -> Any:
        return self._part.value()
