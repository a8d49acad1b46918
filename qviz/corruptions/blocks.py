"""A picture processed some rows at a time, which bounds memory for a 48-megapixel photograph and stays in the cache.

The blocks come from top to bottom, so their draws from one generator equal a single draw for the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BLOCK_PIXELS = 1 << 15


def by_rows(pixels: np.ndarray, change: Callable[[slice], np.ndarray]) -> np.ndarray:
    """A new picture, block by block: `change(rows)` returns the new pixels (k, w, 3) uint8 of these rows."""
    result = np.empty_like(pixels)
    height = max(1, BLOCK_PIXELS // max(1, pixels.shape[1]))
    for start in range(0, pixels.shape[0], height):
        rows = slice(start, start + height)
        result[rows] = change(rows)
    return result


MAX_CACHED = 4 << 20
"""Largest cached draw (16 MB, 1.4 megapixels of three channels). Blocks of larger pictures draw their own numbers."""
Draw = tuple[dict[str, Any], tuple[int, ...], np.ndarray, dict[str, Any]]
"""(state of the generator before, shape, numbers, state after)."""

_last_draw: Draw | None = None


class Normals:
    """Standard normal numbers (h, w, 3) float32, read by rows from top to bottom.

    All severities of a picture have the same numbers, and drawing them takes longer than the rest of a noise
    corruption, so the last draw is cached. The generator ends in the state that drawing leaves.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._rng, self._shape = rng, shape
        self._all = _drawn(rng, shape) if np.prod(shape) <= MAX_CACHED else None

    def rows(self, rows: slice) -> np.ndarray:
        """The numbers of these rows; for a large picture the next ones of the generator."""
        if self._all is not None:
            return self._all[rows]
        height = len(range(*rows.indices(self._shape[0])))
        return self._rng.standard_normal((height, *self._shape[1:]), dtype=np.float32)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Drawn by the generator, or the last draw where it began in the same state."""
    global _last_draw
    state = dict(rng.bit_generator.state)
    last = _last_draw  # read once: another thread may replace it
    if last is not None and last[:2] == (state, shape):
        rng.bit_generator.state = last[3]
        return last[2]
    drawn = rng.standard_normal(shape, dtype=np.float32)
    drawn.setflags(write=False)
    _last_draw = state, shape, drawn, dict(rng.bit_generator.state)
    return drawn
