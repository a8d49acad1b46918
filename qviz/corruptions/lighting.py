"""Light that changes over the whole picture: exposure, gamma, colour temperature, haze, night.

pixels (h, w, 3) uint8 RGB; severity 1..5 picks from the tuple above each function; see `linear_light` for the sensor.
"""

from __future__ import annotations

import cv2
import numpy as np

from qviz.corruptions.continuous import exposure, gamma, temperature
from qviz.corruptions.linear_light import Sensor, relit
from qviz.corruptions.white_points import DAYLIGHT

UNDEREXPOSURE = (1.0, 1.75, 2.5, 3.25, 4.0)
"""Stops of light lost. The sensor stays at its base sensitivity: fewer electrons, so more noise beside the signal."""

OVEREXPOSURE = (0.5, 1.0, 1.5, 2.0, 2.75)
"""Stops of light too many; highlights clip."""

GAMMA = (1.25, 1.5, 2.0, 2.5, 3.2)
"""gamma_dark takes display values to this power, gamma_bright to its inverse."""

WARM = (5200.0, 4300.0, 3500.0, 2900.0, 2400.0)
"""Kelvin: late sun, ..., a halogen lamp, a light bulb, candlelight nearly, with the white balance left at daylight."""

COOL = (7700.0, 9300.0, 11500.0, 15000.0, 22000.0)
"""Kelvin: overcast, shade, blue sky alone."""

OPTICAL_DEPTH = (0.4, 0.8, 1.3, 2.0, 3.0)
"""Haze at the top of the picture, where the scene is taken to be farthest: transmission exp(-depth)."""

AIRLIGHT = np.array([0.72, 0.76, 0.80], np.float32)
"""Linear R, G, B of the haze itself: a bright grey, a little blue."""

NEAREST = 0.25
"""Depth at the bottom of the picture, where the top is 1."""

NIGHT = ((1.5, 1.5), (2.25, 2.5), (3.0, 3.5), (3.75, 4.25), (4.5, 5.0))
"""(stops that the picture is too dark, stops of amplification): the dark is real, and the camera fights it."""

PURKINJE = np.array([0.72, 0.95, 1.35], np.float32)
"""Night's shift of linear R, G, B to the blue, full at severity 5; stands for moon and sky, not for street lamps."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def exposure_down(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Too little light; the noise is added after the loss."""
    return relit(pixels, 2.0 ** -UNDEREXPOSURE[severity - 1], sensor=Sensor(), rng=rng)


def exposure_up(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Too much light."""
    return exposure(pixels, OVEREXPOSURE[severity - 1])


def gamma_dark(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A curve that darkens the midtones."""
    return gamma(pixels, GAMMA[severity - 1])


def gamma_bright(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A curve that lifts the midtones."""
    return gamma(pixels, 1 / GAMMA[severity - 1])


def warm(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Lamp light."""
    return temperature(pixels, WARM[severity - 1] - DAYLIGHT)


def cool(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shade and sky."""
    return temperature(pixels, COOL[severity - 1] - DAYLIGHT)


def haze(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Koschmieder's law, I = J t + A (1 - t), with t = exp(-depth): the height in the picture stands for the depth."""
    depth = np.linspace(1, NEAREST, pixels.shape[0], dtype=np.float32)[:, None, None]  # [h, 1, 1]
    seen = np.exp(-OPTICAL_DEPTH[severity - 1] * depth)
    return relit(pixels, seen, AIRLIGHT * (1 - seen))


def night(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Dark, blue, paler and noisy: what a camera hands over whose amplification has reached its end."""
    stops, iso = NIGHT[severity - 1]
    share = severity / 5
    tint = 1 + share * (PURKINJE - 1)
    return relit(_paler(pixels, 0.5 * share), tint * 2.0**-stops, sensor=Sensor(iso=iso), rng=rng)


def _paler(pixels: np.ndarray, share: float) -> np.ndarray:
    """Colours that much nearer to grey; on display values, where a share of colourfulness looks like one."""
    mixed = (1 - share) * np.eye(3) + share * LUMINANCE  # [3, 3], the same grey for each channel
    return np.asarray(cv2.transform(pixels, mixed))
