"""Affine quantization as TensorFlow Lite defines it: real = scale * (q - zero_point).

Source: the TensorFlow Lite 8-bit quantization specification. Per-channel quantization has one scale per slice
along `axis`. Values are rounded to the nearest integer, with halves away from zero (TFLite's `TfLiteRound`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Quantization:
    """The quantization of a tensor.

    Attributes:
        scales: (k,) float32.
        zero_points: (k,) int64.
        axis: The axis with one scale per slice; None for per-tensor quantization, where k is 1.
    """

    scales: np.ndarray
    zero_points: np.ndarray
    axis: int | None = None

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    def _broadcast(self, values: np.ndarray, ndim: int) -> np.ndarray:
        if self.axis is None:
            return values.reshape(())
        shape = [1] * ndim
        shape[self.axis] = -1
        return values.reshape(shape)

    def quantize(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """The real values as integers of type `dtype`, rounded to nearest and saturated."""
        limits = np.iinfo(dtype)
        scaled = values / self._broadcast(self.scales, values.ndim).astype(np.float32)
        whole = np.trunc(scaled)  # adding 0.5 first would round 0.49999997 up
        rounded = whole + np.where(np.abs(scaled - whole) >= 0.5, np.sign(scaled), 0)
        shifted = rounded + self._broadcast(self.zero_points, values.ndim)
        return np.clip(shifted, limits.min, limits.max).astype(dtype)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """The float32 real values that the integers represent."""
        shifted = values.astype(np.float32) - self._broadcast(self.zero_points, values.ndim).astype(np.float32)
        return (shifted * self._broadcast(self.scales, values.ndim)).astype(np.float32)

    def real_range(self, dtype: str) -> tuple[float, float]:
        """(smallest, largest) real value that integers of type `dtype` represent; for per-tensor quantization only."""
        limits = np.iinfo(dtype)
        scale, zero = float(self.scales[0]), int(self.zero_points[0])
        return scale * (limits.min - zero), scale * (limits.max - zero)
