"""Exposure, gamma and colour temperature with a free amount: what a slider moves while the picture is on screen.

pixels (h, w, 3) uint8 RGB in and out. Each is one lookup table a channel, so a picture of 1280 x 960 takes about a
millisecond; no noise, no random numbers. An amount beyond its range is taken as the nearest end.
"""

from __future__ import annotations

import cv2
import numpy as np

from qviz.corruptions.linear_light import TO_LINEAR, to_pixels
from qviz.corruptions.white_points import DAYLIGHT, gains

STOPS = (-8.0, 8.0)
GAMMAS = (0.1, 10.0)


def exposure(pixels: np.ndarray, stops: float) -> np.ndarray:
    """Light times 2**stops, in linear light; highlights clip. 0 changes nothing."""
    return looked_up(pixels, to_pixels(TO_LINEAR * 2.0 ** np.clip(stops, *STOPS)))


def gamma(pixels: np.ndarray, g: float) -> np.ndarray:
    """Display values in [0, 1] to the power g: above 1 darkens the midtones, below 1 lifts them; ends stay."""
    return looked_up(pixels, np.rint(255 * (np.arange(256) / 255) ** np.clip(g, *GAMMAS)).astype(np.uint8))


def temperature(pixels: np.ndarray, kelvin_shift: float) -> np.ndarray:
    """The light's colour temperature moved from daylight (6504 K): negative is warmer, positive is cooler."""
    return looked_up(pixels, to_pixels(TO_LINEAR[:, None] * gains(DAYLIGHT + kelvin_shift)))  # [256, 3]


def looked_up(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """table: (256,) or one column a channel, (256, 3)."""
    return np.asarray(cv2.LUT(pixels, np.ascontiguousarray(table.reshape(1, 256, -1))))
