"""What a corruption is: a row of the table `CORRUPTIONS`.

pixels (h, w, 3) uint8 RGB in and out, of equal size; severity 1..5, where 5 is the worst.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

Family = Literal["lighting", "published", "pose"]
Apply = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
Movement = Callable[[tuple[int, int], int, np.random.Generator], np.ndarray]
"""((width, height), severity, random numbers) -> homography (3, 3): where a point of the clean image goes."""


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to spoil an image.

    apply(pixels, severity, rng) -> new pixels; it leaves its input alone and draws from `rng` only.
    movement: where the pixels go, for a corruption that moves them (pose), else None.
    """

    name: str
    family: Family
    apply: Apply
    describe: str
    movement: Movement | None = None

    @property
    def moves_boxes(self) -> bool:
        return self.movement is not None
