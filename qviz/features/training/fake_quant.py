"""Fake quantization in training: rounding in the forward pass, the identity in the backward pass (straight-through).

weights      symmetric, one scale per output channel, integers -top..top with top = 2^(bits - 1) - 1, as
             litert-quantizer writes them. They are trained in units of their channel's largest weight, so that one
             learning rate suits large and small channels. The channel's clipping point is trained as well (LSQ, arXiv
             1902.08153), starting where the sum of clipping error and rounding error is smallest. It never exceeds the
             largest weight. The builder therefore computes the same scale again from the trained, rounded weights.
activations  asymmetric, one scale per tensor (symmetric for 16 bits); the ranges start from calibration and are trained

The recipe decides which constants and activations are quantized. Weights that several operators read are one trained
variable. A constant that shares its bytes with another tensor of the file is not trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import Recipe
from qviz.structures import Graph, Op
from qviz.structures.graph import BIAS_INPUT, DATA_MOVERS, OUTPUT_AXES

CLIPS = np.linspace(0.4, 1.0, 25, dtype=np.float32)
"""Shares of a channel's largest weight that are tried as its initial clipping point."""
TINY = 1e-8
MAX_FAKE_BITS = 8
"""Activations with more bits are not rounded in training: rounding to 16 bits has no noticeable effect."""


def rounded(tf: Any, values: Any) -> Any:
    """The values rounded to the nearest integer, with the gradient of the identity."""
    return values + tf.stop_gradient(tf.round(values) - values)


def best_clips(weights: np.ndarray, axis: int, bits: int) -> np.ndarray:
    """(channels,) share of each channel's largest weight at which clipping gives the smallest squared error."""
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    top = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), TINY)
    errors = []
    for share in CLIPS:
        scale = share * largest / top
        errors.append(((np.clip(np.rint(rows / scale), -top, top) * scale - rows) ** 2).sum(axis=1))
    return CLIPS[np.argmin(errors, axis=0)] if bits < 8 else np.ones(len(rows), np.float32)


class Weights:
    """The trained weights of one tensor. A call returns them rounded, as the quantized network uses them."""

    def __init__(self, tf: Any, start: np.ndarray, axis: int, bits: int, name: str) -> None:
        self._tf, self._top = tf, 2 ** (bits - 1) - 1
        self._others = [side for side in range(start.ndim) if side != axis]
        largest = np.abs(start).max(axis=tuple(self._others), keepdims=True)
        self._unit = np.maximum(largest, TINY)
        shape = [-1 if side == axis else 1 for side in range(start.ndim)]
        self.values = tf.Variable(start / self._unit, name=f"{name}/values")
        self.log_clip = tf.Variable(np.log(best_clips(start, axis, bits)).reshape(shape), name=f"{name}/log_clip")
        self.variables = [self.values, self.log_clip]

    def __call__(self) -> Any:
        tf, top = self._tf, self._top
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(self.values), self._others, keepdims=True))
        scale = tf.minimum(tf.exp(self.log_clip), tf.maximum(largest, TINY)) / top
        return rounded(tf, tf.clip_by_value(self.values / scale, -top, top)) * scale * self._unit


class Bias:
    """A trained float constant. Its change is trained in units of the constant's mean absolute value."""

    def __init__(self, tf: Any, start: np.ndarray, name: str) -> None:
        self._start, self._unit = start, max(float(np.abs(start).mean()), 1e-2)
        self.offset = tf.Variable(np.zeros_like(start), name=f"{name}/offset")
        self.variables = [self.offset]

    def __call__(self) -> Any:
        return self._start + self.offset * self._unit


class Range:
    """The trained range of one activation. Its ends are trained in units of the width of the calibrated range."""

    def __init__(self, tf: Any, low: float, high: float, bits: int, name: str) -> None:
        self._tf, self._bits = tf, bits
        self._low, self._high = min(low, 0.0), max(high, 0.0)
        self._width = max(self._high - self._low, TINY)
        self.moved = tf.Variable(np.zeros(2, np.float32), name=f"{name}/moved")
        self.variables = [self.moved]

    def ends(self) -> tuple[Any, Any]:
        low, high = self._low + self.moved[0] * self._width, self._high + self.moved[1] * self._width
        return self._tf.minimum(low, 0.0), self._tf.maximum(high, self._tf.minimum(low, 0.0) + TINY)

    def __call__(self, values: Any) -> Any:
        low, high = self.ends()
        return self._tf.quantization.fake_quant_with_min_max_vars(values, low, high, num_bits=self._bits)


SAME_SCALE = DATA_MOVERS - {"CONCATENATION"}
"""Operators whose outputs have the scale of their input."""
FIXED = {"LOGISTIC": (0.0, 255 / 256), "SOFTMAX": (0.0, 255 / 256), "TANH": (-1.0, 127 / 128)}
"""Ranges that TensorFlow Lite's integer kernels prescribe."""


class FakeQuantized:
    """The trained parts of a network that computes what the quantized network will compute.

    `weights`, `biases` and `ranges` map tensor indices to the trained parts.
    """

    def __init__(
        self, tf: Any, graph: Graph, recipe: Recipe, calibration: Calibration | None, constants: Collection[int]
    ) -> None:
        self._tf, self._graph, self._recipe, self._constant_tensors = tf, graph, recipe, constants
        self._calibrated = calibration.ranges if calibration is not None else {}
        self._producers = {index: op for op in graph.ops for index in op.outputs}
        self.weights: dict[int, Weights] = {}
        self.biases: dict[int, Bias] = {}
        self.ranges: dict[int, Range] = {}

    def constant(self, op: Op, position: int, values: np.ndarray) -> Weights | Bias | np.ndarray:
        """What an operator reads at input `position`: a trained part, or the file's `values` if it is not trained."""
        index = op.inputs[position]
        if index is None or index not in self._constant_tensors or op.kind not in BIAS_INPUT:
            return values
        if position == 1:
            if index not in self.weights:
                bits = self._recipe.weight_bits if op.kind in self._recipe.kinds else 8
                self.weights[index] = Weights(self._tf, values, OUTPUT_AXES[op.kind], bits, f"tensor_{index}")
            return self.weights[index]
        if position == BIAS_INPUT[op.kind]:
            if index not in self.biases:
                self.biases[index] = Bias(self._tf, values, f"tensor_{index}")
            return self.biases[index]
        return values

    def activation(self, index: int) -> Callable[[Any], Any] | None:
        """The function to apply to a computed tensor, or None if its values are not quantized."""
        bits = self._recipe.activation_bits
        op = self._producers.get(index)
        name = self._graph.tensors[index].name
        if bits is None or bits > MAX_FAKE_BITS or (op is not None and op.kind in SAME_SCALE):
            return None
        if op is not None and op.kind in FIXED:
            low, high = FIXED[op.kind]
            return lambda x: self._tf.quantization.fake_quant_with_min_max_args(x, low, high, num_bits=bits)
        if name not in self._calibrated:
            return None
        self.ranges[index] = Range(self._tf, *self._calibrated[name], bits, f"tensor_{index}")
        return self.ranges[index]

    @property
    def variables(self) -> list[Any]:
        """All trained variables, always in the same order for the same network."""
        parts: list[Weights | Bias | Range] = [*self.weights.values(), *self.biases.values(), *self.ranges.values()]
        return [variable for part in parts for variable in part.variables]

    def constants(self) -> dict[int, np.ndarray]:
        """Tensor index -> trained constant for the file: weights (rounded) and biases."""
        trained: list[tuple[int, Weights | Bias]] = [*self.weights.items(), *self.biases.items()]
        return {index: np.asarray(part(), np.float32) for index, part in trained}

    def moved_ranges(self) -> dict[str, tuple[float, float]]:
        """Tensor name -> trained range."""
        ends = {index: part.ends() for index, part in self.ranges.items()}
        return {self._graph.tensors[i].name: (float(low), float(high)) for i, (low, high) in ends.items()}
