"""How far one tensor is from another, and how much of that a quantizer's range and step explain.

x is the reference, y the variant (dequantized), both float32 of one shape.
MSE          mean (x - y)^2, in squared units of the tensor
SQNR         20 log10(|x| / |x - y|) in dB, higher is better (as ONNX Runtime computes it); None
             where both are equal, as it would be infinite
RMSE/scale   sqrt(MSE) / scale of the variant's tensor; about 1/sqrt(12) = .289 where only rounding is left
cosine       x.y / (|x| |y|)
Sums are kept, not tensors, so that any number of images takes the memory of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.structures import Quantization


@dataclass(slots=True)
class ErrorSums:
    """Energies over all elements seen so far; `worst` is the largest MSE of one image, and which image it was."""

    count: int = 0
    error: float = 0.0
    reference: float = 0.0
    variant: float = 0.0
    product: float = 0.0
    max_abs: float = 0.0
    images: int = 0
    worst_mse: float = -1.0
    worst_image: str = ""

    def add(self, x: np.ndarray, y: np.ndarray, image: str) -> None:
        """Take in one image's tensors."""
        first, second = np.ravel(x), np.ravel(y)  # float32: the sums of one image are exact to six digits
        difference = first - second
        error = float(np.dot(difference, difference))
        self.merge(
            ErrorSums(
                count=first.size,
                error=error,
                reference=float(np.dot(first, first)),
                variant=float(np.dot(second, second)),
                product=float(np.dot(first, second)),
                max_abs=max(float(difference.max(initial=0.0)), -float(difference.min(initial=0.0))),
                images=1,
                worst_mse=error / first.size if first.size else 0.0,
                worst_image=image,
            )
        )

    def merge(self, other: ErrorSums) -> None:
        """Take in what another worker saw."""
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
        return self.error / self.count if self.count else None

    @property
    def sqnr_db(self) -> float | None:
        """None where nothing was compared, nothing differs, or the reference is all zero."""
        if self.error <= 0 or self.reference <= 0:
            return None
        return float(10 * np.log10(self.reference / self.error))

    @property
    def cosine(self) -> float | None:
        norms = self.reference * self.variant
        return float(self.product / norms**0.5) if norms > 0 else None

    def rmse_over_scale(self, scale: float | None) -> float | None:
        mse = self.mse
        return mse**0.5 / scale if mse is not None and scale else None


@dataclass(slots=True)
class RangeSums:
    """What the variant's range and step do to the reference's values, whatever the kernels do besides."""

    count: int = 0
    clipped: int = 0
    clipping: float = 0.0
    rounding: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def add(self, x: np.ndarray, quantization: Quantization, dtype: str) -> None:
        """Take in the reference's activation of a per-tensor quantized tensor."""
        low, high = quantization.real_range(dtype)
        values = np.ravel(x)
        inside = np.clip(values, low, high)
        beyond = np.abs(values - inside)
        rounding = inside - quantization.dequantize(quantization.quantize(inside, dtype))
        self.merge(
            RangeSums(
                count=values.size,
                # half a step beyond the end still rounds to it: nothing is lost there but rounding
                clipped=int(np.count_nonzero(beyond > quantization.scales[0] / 2)),
                clipping=float(np.dot(beyond, beyond)),
                rounding=float(np.dot(rounding, rounding)),
                low=float(values.min(initial=np.inf)),
                high=float(values.max(initial=-np.inf)),
            )
        )

    def merge(self, other: RangeSums) -> None:
        """Take in what another worker saw."""
        self.count += other.count
        self.clipped += other.clipped
        self.clipping += other.clipping
        self.rounding += other.rounding
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def share(self) -> float | None:
        """Of the values, how many are clipped."""
        return self.clipped / self.count if self.count else None

    def mean(self, energy: float) -> float | None:
        """An energy as a mean square."""
        return energy / self.count if self.count else None


def sqnr_db(x: np.ndarray, y: np.ndarray) -> float | None:
    """SQNR of two arrays; None where they are equal."""
    sums = ErrorSums()
    sums.add(x, y, "")
    return sums.sqnr_db
