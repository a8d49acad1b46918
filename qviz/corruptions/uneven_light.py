"""Light that falls unevenly: each multiplies linear light by a map that is 1 where the scene is well lit.

pixels (h, w, 3) uint8 RGB. Where the light comes from (side, edge, phase) is drawn first, from `rng` alone, so a seed
keeps its side over all severities. Coordinates are measured from the centre in half diagonals: -1..1 at the corners.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qviz.corruptions.blocks import by_rows
from qviz.corruptions.linear_light import relit

Light = tuple[np.ndarray | float, np.ndarray | float]
"""(gain, what is added) of linear light."""

FIELD = (30.0, 40.0, 50.0, 58.0, 66.0)
"""Degrees between the optical axis and the corner, for the law of cos^4."""

SIDE = (1.0, 2.0, 3.0, 4.0, 5.0)
"""Stops between the lit side and the far one."""

SUN, SKY = 1.15, np.array([0.92, 1.0, 1.12], np.float32)
"""Exposed a little for the shade, the sunlit part is brighter; what is left in the shade is the sky's light: bluish."""

SHADOW = (1.0, 1.75, 2.5, 3.25, 4.0)
"""Stops between sun and shade."""

PENUMBRA = 0.03
"""Half width of the shadow's soft edge, in half diagonals."""

FLICKER = (0.15, 0.3, 0.5, 0.7, 0.9)
"""Depth of the bands: the light of a lamp on alternating current falls by this share twice a period."""


def vignette(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """cos(angle)**4 of a simple lens: 1 / (1 + (r tan(field))**2)**2."""
    widest = np.float32(np.tan(np.radians(FIELD[severity - 1])) ** 2)

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        return (1 / np.square(1 + (x * x + y * y) * widest))[..., None], 0.0

    return lit(pixels, gain)


def side_light(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A window or lamp at one side: light falls linearly across the picture."""
    across = _across(pixels, rng, spread=25.0)
    loss = np.float32(1 - 2.0 ** -SIDE[severity - 1])

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        return (1 - (across(x, y) + 1) * (loss / 2))[..., None], 0.0

    return lit(pixels, gain)


def shadow(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Something tall keeps the sun off one part of the scene; the edge is soft."""
    across, place = _across(pixels, rng, spread=40.0), np.float32(rng.uniform(-0.25, 0.25))
    shade = SKY * np.float32(SUN * 2.0 ** -SHADOW[severity - 1])

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        sunlit = np.clip(0.5 - (across(x, y) + place) / np.float32(2 * PENUMBRA), 0, 1)[..., None]
        return shade + sunlit * (SUN - shade), 0.0

    return lit(pixels, gain)


def flicker(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Horizontal bands: a rolling shutter reads the rows one after the other while the lamp goes dark and bright."""
    bands, phase = rng.uniform(2.5, 5.5), rng.uniform(0, 2 * np.pi)
    rows = (np.arange(pixels.shape[0], dtype=np.float32) + 0.5) / pixels.shape[0]
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * bands * rows + phase)
    return relit(pixels, 1 - FLICKER[severity - 1] * wave[:, None, None])


def lit(pixels: np.ndarray, light: Callable[[np.ndarray, np.ndarray], Light]) -> np.ndarray:
    """Relit by light(x (1, w), y (k, 1)) -> (gain, what is added), each of a shape that broadcasts to (k, w, 3)."""
    x, y = grid(pixels)
    return by_rows(pixels, lambda rows: relit(pixels[rows], *light(x, y[rows])))


def grid(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (1, w) and y (h, 1) of the pixels' centres, from the centre, in half diagonals."""
    height, width = pixels.shape[:2]
    half = np.hypot(width, height) / 2
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(half)
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / np.float32(half)
    return x[None, :], y[:, None]


def edges(pixels: np.ndarray) -> tuple[float, float]:
    """x of the right edge and y of the lower one; the others are their negatives."""
    height, width = pixels.shape[:2]
    return width / float(np.hypot(width, height)), height / float(np.hypot(width, height))


def _across(
    pixels: np.ndarray, rng: np.random.Generator, spread: float
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """(x, y) -> -1 at the left (or right) end of the picture to 1 at the other, tilted by up to `spread` degrees."""
    angle = np.radians(rng.uniform(-spread, spread)) + (np.pi if rng.random() < 0.5 else 0.0)
    right, bottom = edges(pixels)
    far = right * abs(np.cos(angle)) + bottom * abs(np.sin(angle))
    cosine, sine = np.float32(np.cos(angle) / far), np.float32(np.sin(angle) / far)
    return lambda x, y: x * cosine + y * sine
