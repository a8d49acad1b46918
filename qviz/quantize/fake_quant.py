"""Quantization as training sees it: rounded going forward, the identity going back (straight-through).

weights      symmetric, one scale an output channel, integers -top..top with top = 2^(bits - 1) - 1, as
             ai-edge-quantizer writes them. Trained in units of their channel's largest weight, so that one learning
             rate suits channels of any size; the channel's clipping point is trained too (LSQ, arXiv 1902.08153) and
             starts where clipping and rounding together cost least. It is never beyond the largest weight: so the
             trained weights, written back on their grid, get the very same scale when the file is built.
activations  asymmetric, one scale a tensor (symmetric for 16 bits); ranges start from calibration and are trained
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
