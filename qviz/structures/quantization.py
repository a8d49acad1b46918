"""Affine quantization as TensorFlow Lite defines it: real = scale * (q - zero_point).

Source: the TensorFlow Lite 8-bit quantization specification. Per-channel quantization has one scale per slice
along `axis`. Values are rounded to the nearest integer, with halves away from zero (TFLite's `TfLiteRound`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 1 << 15
"""Values that are quantized at a time."""
BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))
"""The largest float32 below 0.5. Adding it and cutting off the decimals rounds halves up, and never 0.49999997."""


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
        if self.axis is None and values.dtype == np.float32 and np.dtype(dtype).itemsize <= 2:
            return self._quantized_in_blocks(values, dtype)
        limits = np.iinfo(dtype)
        scaled = values / self._broadcast(self.scales, values.ndim).astype(np.float32)
        shifted = _rounded(scaled) + self._broadcast(self.zero_points, values.ndim)
        return np.clip(shifted, limits.min, limits.max).astype(dtype)

    def _quantized_in_blocks(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """The same for one scale: block by block, so that a block stays in the processor's cache from step to step."""
        limits, flat = np.iinfo(dtype), np.ascontiguousarray(values).reshape(-1)
        scale, zero = self.scales.astype(np.float32).reshape(()), np.float32(self.zero_points.reshape(()))
        integers = np.empty(flat.shape, dtype)
        for start in range(0, flat.size, BLOCK):
            block = _rounded(flat[start : start + BLOCK] / scale)
            block += zero
            np.clip(block, limits.min, limits.max, out=block)
            integers[start : start + BLOCK] = block
        return integers.reshape(values.shape)

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """The float32 real values that the integers represent."""
        shifted: np.ndarray = values.astype(np.float32)
        shifted -= self._broadcast(self.zero_points, values.ndim).astype(np.float32)
        shifted *= self._broadcast(self.scales, values.ndim).astype(np.float32)
        return shifted

    def real_range(self, dtype: str) -> tuple[float, float]:
        """(smallest, largest) real value that integers of type `dtype` represent; for per-tensor quantization only."""
        limits = np.iinfo(dtype)
        scale, zero = float(self.scales[0]), int(self.zero_points[0])
        return scale * (limits.min - zero), scale * (limits.max - zero)


def _rounded(scaled: np.ndarray) -> np.ndarray:
    """float32 values rounded to the nearest integer, halves away from zero."""
    scaled = scaled + np.copysign(BELOW_HALF, scaled)
    return np.trunc(scaled, out=scaled)
