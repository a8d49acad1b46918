"""What values a tensor takes, against the range that its quantization can hold.

x are FP32's values, y the variant's (dequantized), both of one tensor; held is (low, high): the smallest and largest
real value that the variant can hold, None where it is float or per channel.
unused share   of [low, high], the part that x does not reach, in [0, 1]
wasted bits    -log2(1 - unused share): how many bits fewer would do for the part that is reached
clipped share  of the values of x, those more than half a step outside of [low, high], in [0, 1]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Ends = tuple[float, float]

BINS = 96
"""Bins of a histogram, about: where values are quantized, a bin holds a whole number of steps."""


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Smallest and largest of x and y on one image; the shares are None where nothing is quantized."""

    reference: Ends
    variant: Ends
    held: Ends | None
    clipped_share: float | None
    unused_share: float | None

    @property
    def wasted_bits(self) -> float | None:
        return None if self.unused_share is None else wasted_bits(self.unused_share)


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """edges (n + 1,) float64 in the tensor's own unit, evenly spaced; counts (n,) int64 of x and of y."""

    edges: np.ndarray
    reference: np.ndarray
    variant: np.ndarray


def unused_share(reached: Ends, held: Ends) -> float:
    """Of what can be held, the part that is not reached; `reached` as `RangeSums` keeps it (low, high)."""
    width = held[1] - held[0]
    if width <= 0:
        return 0.0
    used = min(reached[1], held[1]) - max(reached[0], held[0])
    return 1.0 - min(max(used / width, 0.0), 1.0)


def wasted_bits(unused: float) -> float | None:
    """None where nothing of the range is used: no number of bits would be too few."""
    return math.log2(1.0 / (1.0 - unused)) if unused < 1.0 else None


def ends_of(values: np.ndarray) -> Ends:
    """The smallest and the largest finite value; zeros where there is none."""
    finite = _finite(values)
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def histogram(x: np.ndarray, y: np.ndarray, held: Ends | None, scale: float | None) -> Histogram:
    """Both over the same bins, which span the values and the range.

    With a scale, edges lie half-way between two steps: a bin then holds as many integers as its neighbour, and the
    variant's counts show no comb.
    """
    first, second = _finite(x), _finite(y)
    edges = _edges([ends_of(first), ends_of(second), *([held] if held else [])], held, scale)
    bounds = float(edges[0]), float(edges[-1])
    counts = [np.histogram(values, len(edges) - 1, bounds)[0].astype(np.int64) for values in (first, second)]
    return Histogram(edges, *counts)


def _edges(spans: list[Ends], held: Ends | None, scale: float | None) -> np.ndarray:
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    if held is None or not scale:
        widen = 0.0 if high > low else max(abs(low), 1.0) / 2
        return np.linspace(low - widen, high + widen, BINS + 1)
    width = scale * max(1, math.ceil((high - low) / scale / BINS))
    anchor = held[0] - scale / 2
    below = max(0, math.ceil((anchor - low) / width))
    above = max(1, math.ceil((high + scale / 2 - anchor) / width - 1e-6))
    return anchor + width * np.arange(-below, above + 1)


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.ravel(values)
    return flat[np.isfinite(flat)]
