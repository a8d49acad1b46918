"""Standard normal numbers for a picture: drawn once for all severities, which have the same by design.

They take longer than everything else that a noise does to a picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST = 4 << 20
"""Numbers that are kept (16 MB): 1.4 megapixels of three channels. Of larger pictures each block draws its own."""
Kept = tuple[dict[str, Any], tuple[int, ...], np.ndarray, dict[str, Any]]

_kept: Kept | None = None


class Normals:
    """(h, w, 3) float32, given by rows from the top down. The generator is left where drawing them leaves it."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self._rng, self._shape = rng, shape
        self._all = _drawn(rng, shape) if np.prod(shape) <= MOST else None

    def rows(self, rows: slice) -> np.ndarray:
        """Those of some rows; where not all are kept, the next ones."""
        if self._all is not None:
            return self._all[rows]
        height = len(range(*rows.indices(self._shape[0])))
        return self._rng.standard_normal((height, *self._shape[1:]), dtype=np.float32)


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """From the generator as it stands, or as drawn from there the last time."""
    global _kept
    state = dict(rng.bit_generator.state)
    kept = _kept  # read once: another thread may put its own there
    if kept is not None and kept[:2] == (state, shape):
        rng.bit_generator.state = kept[3]
        return kept[2]
    drawn = rng.standard_normal(shape, dtype=np.float32)
    drawn.setflags(write=False)
    _kept = state, shape, drawn, dict(rng.bit_generator.state)
    return drawn
