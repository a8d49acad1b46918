"""The lighting corruptions: light that changes everywhere, uneven light, and stray light.

Pixels are (h, w, 3) uint8 RGB; severity 1..5 selects a value from a tuple in this file; see `light` for the sensor.

For uneven light, linear light is multiplied by a map that is 1 where the scene is well lit. Where the light comes from
(side, edge, phase, the lamp's position) is drawn from `rng` first, so for a given seed it is the same at all
severities. Coordinates are measured from the centre in half diagonals, so the corners are at distance 1.

Stray light is added in linear light, then clipped. Around a lamp, the eye and the lens spread light approximately as
1/angle**2 (disability glare, CIE 135); here it is a / (1 + (r / r0)**2).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from qviz.corruptions.blocks import by_rows
from qviz.corruptions.light import DAYLIGHT, Sensor, exposure, gamma, relit, temperature

UNDEREXPOSURE = (1.0, 1.75, 2.5, 3.25, 4.0)
"""Stops of missing light. The sensor stays at its base sensitivity, so fewer electrons mean relatively more noise."""

OVEREXPOSURE = (0.5, 1.0, 1.5, 2.0, 2.75)
"""Stops of excess light; highlights are clipped."""

GAMMA = (1.25, 1.5, 2.0, 2.5, 3.2)
"""The power to which gamma_dark raises display values; gamma_bright uses its inverse."""

WARM = (5200.0, 4300.0, 3500.0, 2900.0, 2400.0)
"""Colour temperature in kelvin, from late sun via a halogen lamp and a light bulb to nearly candlelight; the white
balance stays at daylight."""

COOL = (7700.0, 9300.0, 11500.0, 15000.0, 22000.0)
"""Colour temperature in kelvin, from an overcast sky via shade to blue sky alone."""

OPTICAL_DEPTH = (0.4, 0.8, 1.3, 2.0, 3.0)
"""Optical depth of the haze at the top of the picture, assumed to be farthest away; transmission is exp(-depth)."""

AIRLIGHT = np.array([0.72, 0.76, 0.80], np.float32)
"""Linear R, G, B of the haze itself: a bright, bluish grey."""

NEAREST = 0.25
"""Depth at the bottom of the picture, relative to that at the top."""

NIGHT = ((1.5, 1.5), (2.25, 2.5), (3.0, 3.5), (3.75, 4.25), (4.5, 5.0))
"""(stops of missing light, stops of amplification)."""

PURKINJE = np.array([0.72, 0.95, 1.35], np.float32)
"""Factors for linear R, G, B at severity 5; moonlight and sky are bluish. Street lamps are not modelled."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def exposure_down(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with too little light. The sensor's noise is added after the light is reduced."""
    return relit(pixels, 2.0 ** -UNDEREXPOSURE[severity - 1], sensor=Sensor(), rng=rng)


def exposure_up(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with too much light."""
    return exposure(pixels, OVEREXPOSURE[severity - 1])


def gamma_dark(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with darker midtones, from a gamma above 1."""
    return gamma(pixels, GAMMA[severity - 1])


def gamma_bright(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with lighter midtones, from a gamma below 1."""
    return gamma(pixels, 1 / GAMMA[severity - 1])


def warm(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture under the warm light of lamps."""
    return temperature(pixels, WARM[severity - 1] - DAYLIGHT)


def cool(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture under the cool light of shade and sky."""
    return temperature(pixels, COOL[severity - 1] - DAYLIGHT)


def haze(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Haze by Koschmieder's law, I = J t + A (1 - t) with t = exp(-depth); depth grows towards the top."""
    depth = np.linspace(1, NEAREST, pixels.shape[0], dtype=np.float32)[:, None, None]  # [h, 1, 1]
    transmission = np.exp(-OPTICAL_DEPTH[severity - 1] * depth)
    return relit(pixels, transmission, AIRLIGHT * (1 - transmission))


def night(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A night scene: dark, bluish, pale and noisy, as from a camera at high amplification."""
    stops, iso = NIGHT[severity - 1]
    share = severity / 5
    tint = 1 + share * (PURKINJE - 1)
    return relit(_paler(pixels, 0.5 * share), tint * 2.0**-stops, sensor=Sensor(iso=iso), rng=rng)


def _paler(pixels: np.ndarray, share: float) -> np.ndarray:
    """The pixels with display values moved towards grey by this share."""
    mixed = (1 - share) * np.eye(3) + share * LUMINANCE  # [3, 3], the same grey for each channel
    return np.asarray(cv2.transform(pixels, mixed))


Light = tuple[np.ndarray | float, np.ndarray | float]
"""(gain, offset) of linear light."""

FIELD = (30.0, 40.0, 50.0, 58.0, 66.0)
"""Angle between the optical axis and the corner in degrees, for the cos^4 law."""

SIDE = (1.0, 2.0, 3.0, 4.0, 5.0)
"""Stops between the lit side and the opposite side."""

SUN, SKY = 1.15, np.array([0.92, 1.0, 1.12], np.float32)
"""Gain of the sunlit part, which is slightly overexposed, and tint of the shade, which only the bluish sky lights."""

SHADOW = (1.0, 1.75, 2.5, 3.25, 4.0)
"""Difference between sun and shade in stops."""

PENUMBRA = 0.03
"""Half the width of the shadow's soft edge, in half diagonals."""

FLICKER = (0.15, 0.3, 0.5, 0.7, 0.9)
"""Depth of the bands: the share by which a lamp on alternating current dims twice per period."""


def vignette(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The falloff of light in a simple lens, cos(angle)**4 = 1 / (1 + (r tan(field))**2)**2."""
    widest = np.float32(np.tan(np.radians(FIELD[severity - 1])) ** 2)

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        return (1 / np.square(1 + (x * x + y * y) * widest))[..., None], 0.0

    return lit(pixels, gain)


def side_light(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A window or lamp at one side: light decreases linearly across the picture."""
    across = _across(pixels, rng, spread=25.0)
    loss = np.float32(1 - 2.0 ** -SIDE[severity - 1])

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        return (1 - (across(x, y) + 1) * (loss / 2))[..., None], 0.0

    return lit(pixels, gain)


def shadow(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A cast shadow with a soft edge over part of the scene."""
    across, offset = _across(pixels, rng, spread=40.0), np.float32(rng.uniform(-0.25, 0.25))
    shade = SKY * np.float32(SUN * 2.0 ** -SHADOW[severity - 1])

    def gain(x: np.ndarray, y: np.ndarray) -> Light:
        sunlit = np.clip(0.5 - (across(x, y) + offset) / np.float32(2 * PENUMBRA), 0, 1)[..., None]
        return shade + sunlit * (SUN - shade), 0.0

    return lit(pixels, gain)


def flicker(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Horizontal bands, because a rolling shutter reads the rows one after another while the lamp flickers."""
    bands, phase = rng.uniform(2.5, 5.5), rng.uniform(0, 2 * np.pi)
    rows = (np.arange(pixels.shape[0], dtype=np.float32) + 0.5) / pixels.shape[0]
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * bands * rows + phase)
    return relit(pixels, 1 - FLICKER[severity - 1] * wave[:, None, None])


def lit(pixels: np.ndarray, light: Callable[[np.ndarray, np.ndarray], Light]) -> np.ndarray:
    """The pixels relit by `light(x, y)`, which takes x (1, w) and y (k, 1) of some rows in the units of `grid`.

    It returns (gain, offset) of linear light for them, whose shapes broadcast to (k, w, 3).
    """
    x, y = grid(pixels)
    return by_rows(pixels, lambda rows: relit(pixels[rows], *light(x, y[rows])))


def grid(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x (1, w) and y (h, 1) of the pixel centres, measured from the picture's centre in half diagonals."""
    height, width = pixels.shape[:2]
    half = np.hypot(width, height) / 2
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(half)
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / np.float32(half)
    return x[None, :], y[:, None]


def edges(pixels: np.ndarray) -> tuple[float, float]:
    """(x, y) of the right and the lower edge, in the units of `grid`; the other edges are at the negative values."""
    height, width = pixels.shape[:2]
    return width / float(np.hypot(width, height)), height / float(np.hypot(width, height))


def _across(
    pixels: np.ndarray, rng: np.random.Generator, spread: float
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function of (x, y) that rises from -1 at one side of the picture to 1 at the opposite side.

    Its direction is left or right, tilted by up to `spread` degrees.
    """
    angle = np.radians(rng.uniform(-spread, spread)) + (np.pi if rng.random() < 0.5 else 0.0)
    right, bottom = edges(pixels)
    reach = right * abs(np.cos(angle)) + bottom * abs(np.sin(angle))
    cosine, sine = np.float32(np.cos(angle) / reach), np.float32(np.sin(angle) / reach)
    return lambda x, y: x * cosine + y * sine


BACKLIGHT = ((0.7, 0.25, 0.01), (1.2, 0.5, 0.015), (1.8, 0.8, 0.02), (2.7, 1.5, 0.025), (3.8, 2.6, 0.03))
"""(stops of missing light on the scene, strength of the light from behind, veil over everything)."""

WINDOW, SIDEWAYS = 0.45, 1.6
"""Reach of the light from behind: downwards in picture heights, and to the sides in half diagonals."""

GLARE = ((0.02, 0.1, 0.02), (0.035, 0.25, 0.04), (0.05, 0.5, 0.08), (0.07, 0.9, 0.14), (0.09, 1.5, 0.22))
"""(radius of the lamp, strength of its halo, veil over everything)."""

HALO, RAYS, REACH = 0.22, 8, 0.5
"""r0 of the halo; number of streaks around the lamp (the iris has eight blades); length of the streaks."""

EDGE = 1.1
"""Distance at which a disc's soft edge ends, as a multiple of its radius."""

SUNLIGHT = np.array([1.0, 0.94, 0.82], np.float32)

GHOSTS = ((-0.45, 0.09, (0.5, 1.0, 0.6)), (-0.8, 0.05, (1.0, 0.6, 0.4)), (-1.3, 0.14, (0.4, 0.6, 1.0)))
"""Reflections between the lenses: (position on the line through the lamp and the centre, radius, tint)."""


def backlight(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Light from behind: a dark scene, a glowing upper edge, and a veil."""
    stops, strength, veil = BACKLIGHT[severity - 1]
    centre, (_, bottom) = np.float32(rng.uniform(-0.4, 0.4)), edges(pixels)

    def light(x: np.ndarray, y: np.ndarray) -> Light:
        below = (y + np.float32(bottom)) / np.float32(2 * bottom)  # [k, 1] 0..1 from the upper edge
        distance = np.square((x - centre) / SIDEWAYS) + np.square(below)
        behind = strength / (1 + distance / np.float32(WINDOW**2)) ** 3
        return 2.0**-stops, SUNLIGHT * (behind + np.float32(veil))[..., None]

    return lit(pixels, light)


def glare(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A lamp in the picture: disc, halo, streaks, veil, and lens ghosts across the centre."""
    radius, strength, veil = GLARE[severity - 1]
    right, bottom = edges(pixels)
    lamp_x = float(right * rng.uniform(0.25, 0.8) * rng.choice((-1.0, 1.0)))
    lamp_y, turn = float(bottom * rng.uniform(-0.8, -0.15)), rng.uniform(0, np.pi)

    def light(x: np.ndarray, y: np.ndarray) -> Light:
        dx, dy = x - lamp_x, y - lamp_y
        distance = np.sqrt(dx * dx + dy * dy)
        halo = np.float32(strength) / (1 + np.square(distance / np.float32(HALO)))
        glow = 4 * soft_disc(distance, radius) + halo * (0.5 + streaks(dx, dy, distance, turn)) + np.float32(veil)
        return 1.0, glow[..., None] * SUNLIGHT + ghosts(x, y, (lamp_x, lamp_y), 0.12 * strength)

    return lit(pixels, light)


def soft_disc(distance: np.ndarray, radius: float) -> np.ndarray:
    """1 inside the radius and 0 outside, with an edge one fifth of the radius wide."""
    return np.clip((np.float32(radius * EDGE) - distance) / np.float32(radius * 0.2), 0, 1)


def streaks(dx: np.ndarray, dy: np.ndarray, distance: np.ndarray, turn: float) -> np.ndarray:
    """(k, w) streaks caused by the iris: cos(angle)**64, fading with distance."""
    wave = np.cos(np.arctan2(dy, dx) * np.float32(RAYS / 2) + np.float32(turn))
    for _ in range(6):
        np.square(wave, out=wave)
    wave *= np.exp(distance * np.float32(-1 / REACH))
    return wave


def ghosts(x: np.ndarray, y: np.ndarray, lamp: tuple[float, float], strength: float) -> np.ndarray:
    """Linear light (k, w, 3) of the lens reflections."""
    light = np.zeros((y.shape[0], x.shape[1], 3), np.float32)
    for along, radius, tint in GHOSTS:
        dx, dy = x - along * lamp[0], y - along * lamp[1]
        columns, rows = (_span(distances, radius * EDGE) for distances in (dx[0], dy[:, 0]))
        distance = np.sqrt(np.square(dx[:, columns]) + np.square(dy[rows]))
        light[rows, columns] += (
            soft_disc(distance, radius)[..., None] * np.array(tint, np.float32) * np.float32(strength)
        )
    return light


def _span(distances: np.ndarray, reach: float) -> slice:
    """The slice of ascending distances that lie within -reach..reach, i.e. the part that a disc covers."""
    return slice(*np.searchsorted(distances, (-reach, reach)))
