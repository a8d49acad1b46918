"""Light that should not be there: against the light, glare and flare. All is added in linear light, then clipped.

pixels (h, w, 3) uint8 RGB; coordinates as in `uneven_light`: from the centre, in half diagonals. The place of the lamp
is drawn from `rng` first, so it stays over all severities. Around a lamp the eye and the lens spread light about as
1/angle**2 (CIE 135's disability glare); here a / (1 + (r / r0)**2).
"""

from __future__ import annotations

import numpy as np

from qviz.corruptions.uneven_light import Light, edges, lit

BACKLIGHT = ((0.7, 0.25, 0.01), (1.2, 0.5, 0.015), (1.8, 0.8, 0.02), (2.7, 1.5, 0.025), (3.8, 2.6, 0.03))
"""(stops that the scene is too dark, light from behind at the window, veil over all)."""

WINDOW, SIDEWAYS = 0.45, 1.6
"""How far the light from behind reaches down, in heights of the picture; and how much farther to the sides, in half
diagonals."""

GLARE = ((0.02, 0.1, 0.02), (0.035, 0.25, 0.04), (0.05, 0.5, 0.08), (0.07, 0.9, 0.14), (0.09, 1.5, 0.22))
"""(radius of the lamp, strength of its halo, veil over all)."""

HALO, RAYS, REACH = 0.22, 8, 0.5
"""The halo's r0; streaks around the lamp (an iris of eight blades), and how far they reach."""

EDGE = 1.1
"""Where a disc's soft edge ends, in its radius."""

SUNLIGHT = np.array([1.0, 0.94, 0.82], np.float32)

GHOSTS = ((-0.45, 0.09, (0.5, 1.0, 0.6)), (-0.8, 0.05, (1.0, 0.6, 0.4)), (-1.3, 0.14, (0.4, 0.6, 1.0)))
"""Reflections between the lenses: (place on the line through lamp and centre, radius, tint)."""


def backlight(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The light stands behind: the scene is dark, its upper edge glows, and a veil lies over it."""
    stops, strength, veil = BACKLIGHT[severity - 1]
    place, (_, bottom) = np.float32(rng.uniform(-0.4, 0.4)), edges(pixels)

    def light(x: np.ndarray, y: np.ndarray) -> Light:
        below = (y + np.float32(bottom)) / np.float32(2 * bottom)  # [k, 1] 0..1 from the upper edge
        away = np.square((x - place) / SIDEWAYS) + np.square(below)
        behind = strength / (1 + away / np.float32(WINDOW**2)) ** 3
        return 2.0**-stops, SUNLIGHT * (behind + np.float32(veil))[..., None]

    return lit(pixels, light)


def glare(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A lamp in the picture: its disc, a halo, streaks, a veil, and the lens's ghosts across the centre."""
    radius, strength, veil = GLARE[severity - 1]
    right, bottom = edges(pixels)
    lamp_x = float(right * rng.uniform(0.25, 0.8) * rng.choice((-1.0, 1.0)))
    lamp_y, turn = float(bottom * rng.uniform(-0.8, -0.15)), rng.uniform(0, np.pi)

    def light(x: np.ndarray, y: np.ndarray) -> Light:
        dx, dy = x - lamp_x, y - lamp_y
        away = np.sqrt(dx * dx + dy * dy)
        halo = np.float32(strength) / (1 + np.square(away / np.float32(HALO)))
        glow = 4 * soft_disc(away, radius) + halo * (0.5 + streaks(dx, dy, away, turn)) + np.float32(veil)
        return 1.0, glow[..., None] * SUNLIGHT + ghosts(x, y, (lamp_x, lamp_y), 0.12 * strength)

    return lit(pixels, light)


def soft_disc(away: np.ndarray, radius: float) -> np.ndarray:
    """1 inside of the radius, 0 outside, over an edge of a fifth of it."""
    return np.clip((np.float32(radius * EDGE) - away) / np.float32(radius * 0.2), 0, 1)


def streaks(dx: np.ndarray, dy: np.ndarray, away: np.ndarray, turn: float) -> np.ndarray:
    """Rays of the iris: cos(angle)**64, so sharp in their angle, and fading with the distance."""
    wave = np.cos(np.arctan2(dy, dx) * np.float32(RAYS / 2) + np.float32(turn))
    for _ in range(6):
        np.square(wave, out=wave)
    wave *= np.exp(away * np.float32(-1 / REACH))
    return wave


def ghosts(x: np.ndarray, y: np.ndarray, lamp: tuple[float, float], strength: float) -> np.ndarray:
    """(k, w, 3) of linear light."""
    light = np.zeros((y.shape[0], x.shape[1], 3), np.float32)
    for along, radius, tint in GHOSTS:
        dx, dy = x - along * lamp[0], y - along * lamp[1]
        columns, rows = (_span(distances, radius * EDGE) for distances in (dx[0], dy[:, 0]))
        away = np.sqrt(np.square(dx[:, columns]) + np.square(dy[rows]))
        light[rows, columns] += soft_disc(away, radius)[..., None] * np.array(tint, np.float32) * np.float32(strength)
    return light


def _span(distances: np.ndarray, most: float) -> slice:
    """Where rising distances are within -most..most: elsewhere nothing of the disc is seen."""
    return slice(*np.searchsorted(distances, (-most, most)))
