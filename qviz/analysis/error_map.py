"""Where on the image a layer's activation differs, and in which of its channels.

x is FP32's activation, y the variant's (dequantized), float32 of one shape. A feature map is an activation [1, h, w, c]
(or [1, c, h, w]) whose cells tile the model's input; boxes and scores of anchors are none.
map      per cell the RMS over channels, of x - y and of x itself, in the tensor's unit
extent   (x0, y0, x1, y1): what the map covers, in pixels of the original image. A letterboxed input reaches beyond it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAX_CELLS = 160
"""A side of a map. A larger one is averaged over areas, energies first: a screen shows no more."""

WORST = 8
"""Channels that are listed."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorMap:
    """error, reference: (h, w) float32, the RMS over channels of x - y and of x; extent in pixels of the image."""

    error: np.ndarray
    reference: np.ndarray
    extent: tuple[float, float, float, float]

    @property
    def highest(self) -> float:
        return float(self.error.max())


@dataclass(frozen=True, slots=True)
class ChannelError:
    """One channel of an activation: RMSE in the tensor's unit, SQNR in dB (None: equal, or FP32's is all zero)."""

    channel: int
    rmse: float
    sqnr_db: float | None


def map_axes(shape: Sequence[int], size: tuple[int, int]) -> tuple[int, int] | None:
    """The axes (down, across) of a feature map over an input of `size` (width, height); None where it is none."""
    if len(shape) != 4 or shape[0] != 1:
        return None
    return next((axes for axes in ((1, 2), (2, 3)) if _tiles(shape[axes[0]], shape[axes[1]], size)), None)


def _tiles(down: int, across: int, size: tuple[int, int]) -> bool:
    """Whether cells of about equal sides tile the input: anchors and boxes are listed along one axis instead."""
    if not (down <= size[1] and across <= size[0] and down * across > 1):
        return False
    ratio = (size[0] / across) / (size[1] / down)
    return 2 / 3 <= ratio <= 3 / 2


def error_map(
    x: np.ndarray, y: np.ndarray, axes: tuple[int, int], extent: tuple[float, float, float, float]
) -> ErrorMap:
    """The map of an activation whose feature map lies along `axes`."""
    channels = 3 if axes == (1, 2) else 1
    first, second = (_shrunk(np.square(values).mean(axis=channels)[0]) for values in (x - y, x))
    return ErrorMap(np.sqrt(first), np.sqrt(second), extent)


def _shrunk(energy: np.ndarray) -> np.ndarray:
    """At most MAX_CELLS a side; a cell is the mean over its area, so that the whole keeps its mean."""
    down, across = (_areas(side) for side in energy.shape)
    return (down @ energy @ across.T).astype(np.float32)


def _areas(side: int) -> np.ndarray:
    """(cells, side): the share of each old cell in each new one; rows sum to 1."""
    cells = min(side, MAX_CELLS)
    edges = np.linspace(0, side, cells + 1)
    old = np.arange(side)
    overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
    return np.clip(overlap, 0, None) * (cells / side)


def channel_errors(x: np.ndarray, y: np.ndarray, axis: int) -> tuple[ChannelError, ...]:
    """The WORST channels along `axis`, the largest RMSE first; those that are equal are left out."""
    others = tuple(i for i in range(x.ndim) if i != axis)
    error, signal = np.square(x - y).mean(axis=others), np.square(x).mean(axis=others)
    ranked = [int(i) for i in np.argsort(-error, kind="stable")[:WORST] if error[i] > 0]
    return tuple(ChannelError(i, float(error[i]) ** 0.5, _sqnr(signal[i], error[i])) for i in ranked)


def _sqnr(signal: float, error: float) -> float | None:
    return float(10 * np.log10(signal / error)) if signal > 0 else None
