"""Ranges of activations: what each image showed, and one range per tensor for the quantizer.

One image gives two numbers per tensor. They are kept for every image (1 MB for 500 images), so that the method which
sums them up can be chosen afterwards without running the network again:

minmax          smallest and largest value over all images
moving_average  low <- 0.95 low + 0.05 low of the next image, as litert-quantizer does; the order of the images matters
percentile      mean over the images of each image's quantiles, which cut both ends: robust to single outliers

Values that are not finite are left out, as are values beyond 3e38 (paddings with "minus infinity").
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qviz.errors import QuantizeError

METHODS = {
    "minmax": "smallest and largest value",
    "moving_average": "moving average over the images",
    "percentile": "99.99% of the values",
}
"""Ways to sum up the ranges of the images, each with a short description."""
SMOOTHING = 0.95
PERCENTILE = 99.99
"""Per cent of a tensor's values below the upper end of its range, and above the lower end."""
MAX_PERCENTILE_VALUES = 1 << 17
"""Values of one tensor that a percentile is read from, spread evenly over it."""
LARGEST = 3e38


@dataclass(frozen=True, slots=True, eq=False)
class ImageRanges:
    """Ranges of every activation on every image.

    Attributes:
        names: (tensors,)
        lows, highs: (images, tensors) float32, NaN where an image gave no finite value.
        skipped: A sentence for each image that could not be read.
        digests: Of the images that were read, in the order of the rows.
    """

    names: tuple[str, ...]
    lows: np.ndarray
    highs: np.ndarray
    skipped: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        return len(self.lows)

    def of(self, rows: Sequence[int]) -> ImageRanges:
        """The ranges of some of the images, in this order."""
        chosen = list(rows)
        digests = tuple(self.digests[row] for row in chosen) if self.digests else ()
        return ImageRanges(self.names, self.lows[chosen], self.highs[chosen], (), digests)


def joined(parts: Sequence[ImageRanges]) -> ImageRanges:
    """The ranges that several workers measured on one model, in this order."""
    if not parts:
        return ImageRanges((), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    if any(part.names != parts[0].names for part in parts):
        raise ValueError("ranges of different models cannot be joined")
    return ImageRanges(
        parts[0].names,
        np.concatenate([part.lows for part in parts]),
        np.concatenate([part.highs for part in parts]),
        tuple(sentence for part in parts for sentence in part.skipped),
        tuple(digest for part in parts for digest in part.digests),
    )


def range_of(values: np.ndarray, use_quantiles: bool) -> tuple[float, float]:
    """Lowest and highest value of one tensor, or its quantiles; NaN if no value is finite."""
    if use_quantiles:
        flat = values.reshape(-1)
        flat = flat[:: -(-flat.size // MAX_PERCENTILE_VALUES) or 1]
        flat = flat[np.abs(flat) < LARGEST]
        if not flat.size:
            return math.nan, math.nan
        share = PERCENTILE / 100
        low, high = np.quantile(flat, [1 - share, share])
        return float(low), float(high)
    low, high = (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)
    if abs(low) < LARGEST and abs(high) < LARGEST:  # false for NaN
        return low, high
    finite = values[np.abs(values) < LARGEST]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One range per tensor, for the quantizer.

    Attributes:
        ranges: Tensor name -> (low, high).
        images: Number of images they were measured on.
        method: How the images' ranges were summed up, a name of `METHODS`.
        model: Digest of the float32 .tflite file they were measured on.
        skipped: A sentence for each image that could not be read.
        seconds: Time of the measurement; None where the ranges were read from a file.
    """

    ranges: dict[str, tuple[float, float]]
    images: int
    method: str
    model: str
    skipped: tuple[str, ...] = field(default=(), compare=False)
    seconds: float | None = field(default=None, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of everything that `to_json` holds."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As `qviz quantize --save-ranges` writes it."""
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {"model": self.model, "method": self.method, "images": self.images, "ranges": ranges}

    @classmethod
    def from_json(cls, document: Any, where: str) -> Calibration:
        """Raises QuantizeError where the document is not what `to_json` gives."""
        try:
            ranges = {str(name): (float(low), float(high)) for name, (low, high) in document["ranges"].items()}
            made = cls(ranges, int(document["images"]), str(document["method"]), str(document["model"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QuantizeError(f"{where} holds no ranges as qviz quantize --save-ranges writes them.") from error
        if not all(math.isfinite(low) and math.isfinite(high) and low <= high for low, high in ranges.values()):
            raise QuantizeError(f"{where} holds a range that is not finite, or whose ends are exchanged.")
        return made


def check_method(method: str) -> None:
    """Raises QuantizeError where it is not one of `METHODS`."""
    if method not in METHODS:
        raise QuantizeError(f"{method!r} is not a way to sum up ranges; choose one of {', '.join(METHODS)}.")


def calibration_of(measured: ImageRanges, model: str, method: str = "minmax") -> Calibration:
    """One range per tensor. Tensors of one name share a range that covers all of them.

    Args:
        model: Digest of the float32 .tflite file.

    Raises:
        QuantizeError: No image could be read, or the method is unknown.
    """
    check_method(method)
    if not measured.images:
        raise QuantizeError(f"No calibration image could be read. {' '.join(measured.skipped[:3])}".strip())
    ranges: dict[str, tuple[float, float]] = {}
    for name, lows, highs in zip(measured.names, measured.lows.T, measured.highs.T, strict=True):
        finite = np.isfinite(lows) & np.isfinite(highs)
        if finite.any():
            low, high = _summed_up(lows[finite], highs[finite], method)
            first = ranges.get(name, (low, high))
            ranges[name] = (min(low, first[0]), max(high, first[1]))
    return Calibration(ranges, measured.images, method, model, measured.skipped)


def _summed_up(lows: np.ndarray, highs: np.ndarray, method: str) -> tuple[float, float]:
    """lows, highs: (images,)."""
    if method == "minmax":
        return float(lows.min()), float(highs.max())
    if method == "percentile":
        return float(lows.mean(dtype=np.float64)), float(highs.mean(dtype=np.float64))
    return _moving_average(lows), _moving_average(highs)


def _moving_average(values: np.ndarray) -> float:
    mean = float(values[0])
    for value in values[1:]:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value)
    return mean
