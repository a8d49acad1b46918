"""Ranges of activations: what each image showed, and one range a tensor for the quantizer.

What one image shows of a tensor is two numbers, so all images' are kept (a megabyte for 500 images) and the way to sum
them up is chosen afterwards, without running anything again:

minmax          smallest and largest value that any image showed
moving_average  low <- .95 low + .05 low of the next image, as litert-quantizer does by itself; the images' order
                matters
percentile      mean over the images of each image's quantiles (both ends cut): robust to single outliers

Values that are not finite are left out, as are values beyond 3e38 (paddings with "minus infinity").
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.errors import QuantizeError

METHODS = ("minmax", "moving_average", "percentile")
SMOOTHING = 0.95
PERCENTILE = 99.99
"""Per cent of a tensor's values below the upper end of its range, and above the lower."""
MOST_VALUES = 1 << 17
"""Values of one tensor that a percentile is read from, spread evenly over it."""
LARGEST = 3e38


@dataclass(frozen=True, slots=True, eq=False)
class ImageRanges:
    """lows, highs: (images, tensors) float32, NaN where an image showed nothing finite.

    skipped: why images were not read; digests: of those that were, in the order of the rows.
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
        """What some of the images showed, in this order."""
        chosen = list(rows)
        digests = tuple(self.digests[row] for row in chosen) if self.digests else ()
        return ImageRanges(self.names, self.lows[chosen], self.highs[chosen], (), digests)


def joined(parts: Sequence[ImageRanges]) -> ImageRanges:
    """What several workers saw of one model, in this order."""
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


def range_of(values: np.ndarray, cut: bool) -> tuple[float, float]:
    """Lowest and highest value of one tensor, or its quantiles where the ends are `cut`; NaN if none is finite."""
    if cut:
        flat = values.reshape(-1)
        flat = flat[:: -(-flat.size // MOST_VALUES) or 1]
        flat = flat[np.abs(flat) < LARGEST]
        if not flat.size:
            return math.nan, math.nan
        share = PERCENTILE / 100
        low, high = np.quantile(flat, [1 - share, share])
        return float(low), float(high)
    low, high = (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)
    if abs(low) < LARGEST and abs(high) < LARGEST:  # false for NaN
        return low, high
    sane = values[np.abs(values) < LARGEST]
    return (float(sane.min()), float(sane.max())) if sane.size else (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Calibration:
    """One range a tensor, measured on the float32 .tflite file with the digest `model`."""

    ranges: dict[str, tuple[float, float]]
    images: int
    method: str
    model: str

    @property
    def digest(self) -> str:
        """Of all that it says."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        ranges = {name: list(ends) for name, ends in self.ranges.items()}
        return {"model": self.model, "method": self.method, "images": self.images, "ranges": ranges}

    @classmethod
    def from_json(cls, said: Any, where: str) -> Calibration:
        """Raises QuantizeError where it is not what `to_json` gives."""
        try:
            ranges = {str(name): (float(low), float(high)) for name, (low, high) in said["ranges"].items()}
            found = cls(ranges, int(said["images"]), str(said["method"]), str(said["model"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QuantizeError(f"{where} holds no ranges as qviz quantize --save-ranges writes them.") from error
        if not all(math.isfinite(low) and math.isfinite(high) and low <= high for low, high in ranges.values()):
            raise QuantizeError(f"{where} holds a range that is not finite, or whose ends are exchanged.")
        return found


def check_method(method: str) -> None:
    """Raises QuantizeError where it is not one of `METHODS`."""
    if method not in METHODS:
        raise QuantizeError(f"{method!r} is no way to calibrate; choose one of {', '.join(METHODS)}.")


def calibration_of(seen: ImageRanges, model: str, method: str = "minmax") -> Calibration:
    """Raises QuantizeError where no image was seen or the method is not known.

    Tensors of one name share a range that holds all of them.
    """
    check_method(method)
    if not seen.images:
        raise QuantizeError(f"No calibration image could be read. {' '.join(seen.skipped[:3])}".strip())
    ranges: dict[str, tuple[float, float]] = {}
    for name, lows, highs in zip(seen.names, seen.lows.T, seen.highs.T, strict=True):
        shown = np.isfinite(lows) & np.isfinite(highs)
        if shown.any():
            low, high = _summed_up(lows[shown], highs[shown], method)
            first = ranges.get(name, (low, high))
            ranges[name] = (min(low, first[0]), max(high, first[1]))
    return Calibration(ranges, seen.images, method, model)


def _summed_up(lows: np.ndarray, highs: np.ndarray, method: str) -> tuple[float, float]:
    """lows, highs: (images,)."""
    if method == "minmax":
        return float(lows.min()), float(highs.max())
    if method == "percentile":
        return float(lows.mean(dtype=np.float64)), float(highs.mean(dtype=np.float64))
    return _moving(lows), _moving(highs)


def _moving(values: np.ndarray) -> float:
    mean = float(values[0])
    for value in values[1:]:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value)
    return mean
