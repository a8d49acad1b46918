"""A picture changed some rows at a time: bounds the memory of a 48-megapixel photograph, and stays in the cache.

The blocks come from the top down, so what each draws from one generator is what a single draw would have given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PIXELS = 1 << 15


def by_rows(pixels: np.ndarray, change: Callable[[slice], np.ndarray]) -> np.ndarray:
    """change(rows) -> (k, w, 3) uint8, the new pixels of those rows."""
    result = np.empty_like(pixels)
    height = max(1, PIXELS // max(1, pixels.shape[1]))
    for start in range(0, pixels.shape[0], height):
        rows = slice(start, start + height)
        result[rows] = change(rows)
    return result
