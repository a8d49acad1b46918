"""Quantization as training sees it: rounded going forward, the identity going back (straight-through).

weights      symmetric, one scale an output channel, integers -top..top with top = 2^(bits - 1) - 1, as
             litert-quantizer writes them. Trained in units of their channel's largest weight, so that one learning
             rate suits channels of any size; the channel's clipping point is trained too (LSQ, arXiv 1902.08153) and
             starts where clipping and rounding together cost least. It is never beyond the largest weight: so the
             trained weights, written back on their grid, get the very same scale when the file is built.
activations  asymmetric, one scale a tensor (symmetric for 16 bits); ranges start from calibration and are trained

The network under training: which constants and which activations are quantized, as the recipe will quantize them.

Weights that several operators read are trained once. A constant that shares its bytes with another tensor of the file
is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import Recipe
from qviz.structures import Graph, Op

CLIPS = np.linspace(0.4, 1.0, 25, dtype=np.float32)
"""Shares of a channel's largest weight that are tried as its first clipping point."""
TINY = 1e-8
WIDEST_FAKE = 8
"""Bits up to which rounding activations is felt: 16 bits are left out of training."""


def rounded(tf: Any, values: Any) -> Any:
    """To nearest; the gradient passes as if nothing had happened."""
    return values + tf.stop_gradient(tf.round(values) - values)


def best_clips(weights: np.ndarray, axis: int, bits: int) -> np.ndarray:
    """Share of each channel's largest weight at which clipping costs the least squared error. (channels,)"""
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)
    top = 2 ** (bits - 1) - 1
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), TINY)
    errors = []
    for share in CLIPS:
        scale = share * largest / top
        errors.append(((np.clip(np.rint(rows / scale), -top, top) * scale - rows) ** 2).sum(axis=1))
    return CLIPS[np.argmin(errors, axis=0)] if bits < 8 else np.ones(len(rows), np.float32)


class Weights:
    """One trained constant: `value()` is what the quantized network multiplies with."""

    def __init__(self, tf: Any, start: np.ndarray, axis: int, bits: int, name: str) -> None:
        self._tf, self._top = tf, 2 ** (bits - 1) - 1
        self._others = [side for side in range(start.ndim) if side != axis]
        largest = np.abs(start).max(axis=tuple(self._others), keepdims=True)
        self._unit = np.maximum(largest, TINY)
        shape = [-1 if side == axis else 1 for side in range(start.ndim)]
        self.values = tf.Variable(start / self._unit, name=f"{name}/values")
        self.log_clip = tf.Variable(np.log(best_clips(start, axis, bits)).reshape(shape), name=f"{name}/log_clip")
        self.variables = [self.values, self.log_clip]

    def value(self) -> Any:
        tf, top = self._tf, self._top
        largest = tf.stop_gradient(tf.reduce_max(tf.abs(self.values), self._others, keepdims=True))
        scale = tf.minimum(tf.exp(self.log_clip), tf.maximum(largest, TINY)) / top
        return rounded(tf, tf.clip_by_value(self.values / scale, -top, top)) * scale * self._unit


class Bias:
    """A trained float constant, in units of its mean size."""

    def __init__(self, tf: Any, start: np.ndarray, name: str) -> None:
        self._start, self._unit = start, max(float(np.abs(start).mean()), 1e-2)
        self.offset = tf.Variable(np.zeros_like(start), name=f"{name}/offset")
        self.variables = [self.offset]

    def value(self) -> Any:
        return self._start + self.offset * self._unit


class Range:
    """The range of one activation, in units of the calibrated one's width."""

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
