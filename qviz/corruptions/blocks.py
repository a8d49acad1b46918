"""Process a picture a few rows at a time, which limits memory for a 48-megapixel photograph and fits the CPU's cache.

The blocks are processed from top to bottom, so their draws from one generator equal a single draw for the whole
picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK_PIXELS = 1 << 15


def by_rows(pixels: np.ndarray, change: Callable[[slice], np.ndarray]) -> np.ndarray:
    """A new picture, computed block by block: `change(rows)` returns the new pixels of these rows, (k, w, 3) uint8."""
    result = np.empty_like(pixels)
    height = max(1, BLOCK_PIXELS // max(1, pixels.shape[1]))
    for start in range(0, pixels.shape[0], height):
        rows = slice(start, start + height)
        result[rows] = change(rows)
    return result


MAX_CACHED = 4 << 20
"""Maximum number of values in a cached draw (16 MB, 1.4 megapixels with three channels). For larger pictures, each
block draws its own numbers."""
Draw = tuple[dict[str, Any], tuple[int, ...], np.ndarray, dict[str, Any]]
"""(state of the generator before the draw, shape, numbers, state after the draw)."""

_last_draw: Draw | None = None


class Normals:
    """(h, w, 3) float32 standard normal numbers, which are read by rows from top to bottom.

    All severities of a picture use the same numbers, and drawing them takes longer than the rest of a noise corruption,
    so the last draw is cached. The generator ends in the same state in either case.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._rng, self._shape = rng, shape
        self._all = _drawn(rng, shape) if np.prod(shape) <= MAX_CACHED else None

    def rows(self, rows: slice) -> np.ndarray:
        """The numbers for these rows; for a large picture, the next ones that the generator draws."""
        if self._all is not None:
            return self._all[rows]
        height = len(range(*rows.indices(self._shape[0])))
        return self._rng.standard_normal((height, *self._shape[1:]), dtype=np.float32)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers drawn by the generator, or the cached last draw if it began in the same state with the same shape."""
    global _last_draw
    state = dict(rng.bit_generator.state)
    last = _last_draw  # read only once, because another thread may replace it
    if last is not None and last[:2] == (state, shape):
        rng.bit_generator.state = last[3]
        return last[2]
    drawn = rng.standard_normal(shape, dtype=np.float32)
    drawn.setflags(write=False)
    _last_draw = state, shape, drawn, dict(rng.bit_generator.state)
    return drawn
