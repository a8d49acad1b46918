"""The error of one tensor, and how much of it a quantizer's range and step explain.

x is the reference, y the variant (dequantized), both float32 of one shape.
MSE          mean (x - y)^2, in squared units of the tensor
SQNR         20 log10(|x| / |x - y|) in dB, higher is better (as ONNX Runtime computes it); None if both are equal,
             because it would be infinite
RMSE/scale   sqrt(MSE) / scale of the variant's tensor; about 1/sqrt(12) = .289 if only rounding is left
cosine       x.y / (|x| |y|), with x.y = (|x|^2 + |y|^2 - |x - y|^2) / 2, which is more exact if both are nearly equal
If a value is NaN or infinite (e.g. float16 out of range), the figure is None.

range          (low, high): the smallest and the largest real value that a quantized tensor can represent
unused share   part of [low, high], in [0, 1], that x does not reach
wasted bits    -log2(1 - unused share): by how many bits the integers could be shorter with the same step, if the range
               ended where x ends
clipped share  share of the values of x, in [0, 1], that are more than half a step outside [low, high]

Only sums are stored, not tensors, so many images need no more memory than one. Tensors are processed in parts that fit
into the processor's cache; passes over a whole activation would take five times as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from qviz.structures import Quantization, Tensor

PART = 1 << 16
"""Elements per part, which gives buffers of 256 KB; with 64 KB or 16 MB, processing takes a tenth longer."""
PADDING = 1040
"""Extra elements per buffer, because buffers a power of two apart would evict one another from the cache."""


@dataclass(slots=True)
class ErrorSums:
    """Sums of squares over all elements so far, and the image with the largest MSE."""

    count: int = 0
    error: float = 0.0
    reference: float = 0.0
    variant: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    images: int = 0
    worst_mse: float = -1.0
    worst_image: str = ""

    def add(self, x: np.ndarray, y: np.ndarray, image: str, quantization: Quantization | None = None) -> None:
        """Add the tensors of one image. y: real values, or integers if `quantization` (per tensor) is given."""
        sums = ErrorSums(count=x.size, images=1, worst_image=image)
        for first, second in _pairs(x, y, quantization):
            sums.error += cv2.norm(first, second, cv2.NORM_L2SQR)
            sums.reference += float(np.dot(first, first))
            sums.variant += float(np.dot(second, second))
            sums.max_abs = max(sums.max_abs, cv2.norm(first, second, cv2.NORM_INF))
        sums.product = (sums.reference + sums.variant - sums.error) / 2
        sums.worst_mse = sums.error / sums.count if sums.count else 0.0
        self.merge(sums)

    def add_energies(
        self, x: np.ndarray, y: np.ndarray, quantization: Quantization | None = None, reference: float | None = None
    ) -> None:
        """Add only the sums for MSE and SQNR, which takes half as many passes over the data as `add`.

        reference: the sum of the squares of x, if it is known already.
        """
        sums = ErrorSums(count=x.size, images=1, reference=reference or 0.0)
        for first, second in _pairs(x, y, quantization):
            sums.error += cv2.norm(first, second, cv2.NORM_L2SQR)
            if reference is None:
                sums.reference += float(np.dot(first, first))
        self.merge(sums)

    def merge(self, other: ErrorSums) -> None:
        """Add the sums of other images."""
        self.count += other.count
        self.error += other.error
        self.reference += other.reference
        self.variant += other.variant
        self.product += other.product
        self.max_abs = max(self.max_abs, other.max_abs)
        self.images += other.images
        if other.worst_mse > self.worst_mse:
            self.worst_mse, self.worst_image = other.worst_mse, other.worst_image

    @property
    def mse(self) -> float | None:
        return finite(self.error / self.count) if self.count else None

    @property
    def sqnr_db(self) -> float | None:
        """SQNR in dB; None if nothing was compared, nothing differs, or the reference is all zero."""
        if not (self.error > 0 and self.reference > 0):
            return None
        ratio = self.reference / self.error
        return finite(10 * math.log10(ratio)) if ratio > 0 else None

    @property
    def cosine(self) -> float | None:
        norms = self.reference * self.variant
        return finite(float(self.product / norms**0.5)) if norms > 0 else None

    def rmse_over_scale(self, scale: float | None) -> float | None:
        mse = self.mse
        return finite(mse**0.5 / scale) if mse is not None and scale else None


@dataclass(slots=True)
class RangeSums:
    """The error that the variant's range and step add to the reference's values, without any kernel."""

    count: int = 0
    clipped: int = 0
    clipping: float = 0.0
    rounding: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, x: np.ndarray, quantization: Quantization, dtype: str, quantized: np.ndarray | None = None) -> None:
        """Add the reference's activation of a per-tensor quantized tensor.

        Args:
            quantized: An array of type `dtype` that is filled with the quantized x; None if that is not needed.
        """
        values = np.ravel(x)
        scale, zero = np.float32(quantization.scales[0]), np.float32(quantization.zero_points[0])
        low, high = (np.float32(end) - zero for end in _ends(dtype))
        sums = RangeSums(count=values.size)
        for position, part, steps, whole in _parts(values):
            smallest, largest = part.min(), part.max()
            sums.low, sums.high = min(sums.low, float(smallest)), max(sums.high, float(largest))
            np.divide(part, scale, out=steps)
            if not (low <= smallest / scale and largest / scale <= high):
                sums._clip(steps, low, high)
            np.rint(steps, out=whole)  # rounds ties to even, but the error has the same energy
            if quantized is not None:
                if not cv2.norm(steps, whole, cv2.NORM_INF) < 0.5:  # there is a tie, or NaN
                    _round(steps, whole)
                np.add(whole, zero, out=quantized.reshape(-1)[position], casting="unsafe")
            sums.rounding += cv2.norm(steps, whole, cv2.NORM_L2SQR)
        sums.clipping, sums.rounding = (energy * float(scale) ** 2 for energy in (sums.clipping, sums.rounding))
        self.merge(sums)

    def _clip(self, steps: np.ndarray, low: np.float32, high: np.float32) -> None:
        """Clip values, given in steps of the scale, in place, and add the error of clipping to the sums."""
        inside = np.clip(steps, low, high)
        beyond = np.abs(steps - inside)
        # values up to half a step beyond the end are rounded to it, not clipped
        self.clipped += int(np.count_nonzero(beyond > 0.5))
        self.clipping += float(np.dot(beyond, beyond))
        steps[:] = inside

    def merge(self, other: RangeSums) -> None:
        """Add the sums of other images."""
        self.count += other.count
        self.clipped += other.clipped
        self.clipping += other.clipping
        self.rounding += other.rounding
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def share(self) -> float | None:
        """Share of the values that are clipped."""
        return self.clipped / self.count if self.count else None

    def mean(self, energy: float) -> float | None:
        """A sum of squares divided by the number of values; None if there are no values or it is not finite."""
        return finite(energy / self.count) if self.count else None


def range_sums(x: np.ndarray, tensor: Tensor) -> RangeSums:
    """The error that a tensor's range and step add to the reference's values; empty if not per-tensor quantized."""
    sums = RangeSums()
    if tensor.per_tensor:
        sums.add(x, tensor.per_tensor, tensor.dtype)
    return sums


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity, which cannot be ordered and are not valid JSON."""
    return value if math.isfinite(value) else None


def sqnr_db(x: np.ndarray, y: np.ndarray) -> float | None:
    """SQNR in dB of y against x; None if they are equal."""
    sums = ErrorSums()
    sums.add(x, y, "")
    return sums.sqnr_db


def _parts(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
    """(position, part, buffer, buffer) for each part of flat values; the two float32 buffers are reused for each."""
    buffers = np.empty((2, min(PART, values.size) + PADDING), np.float32)
    for start in range(0, values.size, PART):
        part = values[start : start + PART]
        yield slice(start, start + PART), part, buffers[0, : part.size], buffers[1, : part.size]


def _pairs(x: np.ndarray, y: np.ndarray, quantization: Quantization | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Matching parts of x and of y as real values."""
    second = np.ravel(y)
    for position, first, real, _ in _parts(np.ravel(x)):
        other = second[position]
        if quantization is not None:
            np.subtract(other, np.float32(quantization.zero_points[0]), out=real, dtype=np.float32)
            other = np.multiply(real, np.float32(quantization.scales[0]), out=real)
        yield first, other


@lru_cache
def _ends(dtype: str) -> tuple[int, int]:
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _round(values: np.ndarray, out: np.ndarray) -> None:
    """Round to nearest, with halves away from zero, like `Quantization.quantize`.

    This adds the integer part of twice the fraction, which is 1 if the fraction is at least .5.
    """
    np.trunc(values, out=out)
    rest = values - out
    rest += rest
    out += np.trunc(rest, out=rest)


Ends = tuple[float, float]

BINS = 96
"""Approximate number of bins of a histogram; a bin of quantized values spans a whole number of steps."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Smallest and largest value of x and y on one image.

    Attributes:
        reference, variant: (smallest, largest) value of x and of y.
        representable: Range of the variant's tensor. This and the shares are None unless it is quantized per tensor.
        clipped_share, unused_share: See the module.
    """

    reference: Ends
    variant: Ends
    representable: Ends | None
    clipped_share: float | None
    unused_share: float | None

    @property
    def wasted_bits(self) -> float | None:
        """Number of bits that could be saved; None if the tensor is not quantized per tensor."""
        return None if self.unused_share is None else wasted_bits(self.unused_share)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts (n,) int64 of x (`reference`) and of y (`variant`) in n bins.

    edges: (n + 1,) float64, evenly spaced, in the tensor's unit.
    """

    edges: np.ndarray
    reference: np.ndarray
    variant: np.ndarray


def unused_share(reached: Ends, representable: Ends) -> float:
    """Share of the representable range that the values do not reach, in [0, 1]."""
    width = representable[1] - representable[0]
    if width <= 0:
        return 0.0
    used = min(reached[1], representable[1]) - max(reached[0], representable[0])
    return 1.0 - min(max(used / width, 0.0), 1.0)


def wasted_bits(unused: float) -> float | None:
    """Number of bits that could be saved; None if no part of the range is used."""
    return math.log2(1.0 / (1.0 - unused)) if unused < 1.0 else None


def ends_of(values: np.ndarray) -> Ends:
    """(smallest, largest) finite value; zeros if there is none."""
    finite = _finite(values)
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def histogram(x: np.ndarray, y: np.ndarray, representable: Ends | None, scale: float | None) -> Histogram:
    """Histograms of x and y over the same bins, which span both and the representable range.

    If a scale is given, edges lie half-way between two steps, so that every bin covers the same number of integers and
    the variant's counts do not alternate.
    """
    first, second = _finite(x), _finite(y)
    edges = _edges([ends_of(first), ends_of(second), *([representable] if representable else [])], representable, scale)
    bounds = float(edges[0]), float(edges[-1])
    counts = [np.histogram(values, len(edges) - 1, bounds)[0].astype(np.int64) for values in (first, second)]
    return Histogram(edges, *counts)


def _edges(spans: list[Ends], representable: Ends | None, scale: float | None) -> np.ndarray:
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    if representable is None or not scale:
        widen = 0.0 if high > low else max(abs(low), 1.0) / 2
        return np.linspace(low - widen, high + widen, BINS + 1)
    width = scale * max(1, math.ceil((high - low) / scale / BINS))
    anchor = representable[0] - scale / 2
    below = max(0, math.ceil((anchor - low) / width))
    above = max(1, math.ceil((high + scale / 2 - anchor) / width - 1e-6))
    return anchor + width * np.arange(-below, above + 1)


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.ravel(values)
    return flat[np.isfinite(flat)]
