"""The colour of light: gains of red, green and blue under a black body of some temperature.

A camera whose white balance stays at daylight sees each channel scaled by what the lamp has more or less of it than
daylight: von Kries's law, one factor a channel, in linear light (here in the channels of sRGB, which stand for the
sensor's). Chromaticity of the Planckian locus: the cubic fit of Kim et al. (US patent 7 024 034; 1667..25000 K).
Linear sRGB of XYZ: IEC 61966-2-1.
"""

from __future__ import annotations

import numpy as np

DAYLIGHT = 6504.0
"""Kelvin: the correlated colour temperature of D65, the white of sRGB."""

LOWEST, HIGHEST = 1700.0, 25000.0

SRGB_OF_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def chromaticity(kelvin: float) -> tuple[float, float]:
    """(x, y) of a black body in CIE 1931; within 1667..25000 K."""
    t = 1000.0 / kelvin
    if kelvin < 4000:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin < 2222:
        cubic = (-1.1063814, -1.34811020, 2.18555832, -0.20219683)
    elif kelvin < 4000:
        cubic = (-0.9549476, -1.37418593, 2.09137015, -0.16748867)
    else:
        cubic = (3.0817580, -5.87338670, 3.75112997, -0.37001483)
    return x, float(np.polyval(cubic, x))


def _linear_rgb(kelvin: float) -> np.ndarray:
    """Linear sRGB of that light at luminance 1."""
    x, y = chromaticity(kelvin)
    return np.maximum(SRGB_OF_XYZ @ np.array([x / y, 1.0, (1 - x - y) / y]), 0.0)


def gains(kelvin: float) -> np.ndarray:
    """(3,) factors of linear R, G, B under a light of that temperature; grey keeps its luminance; all 1 at daylight.

    Temperatures outside of 1700..25000 K are taken as the nearest of these.
    """
    ratio = _linear_rgb(min(max(kelvin, LOWEST), HIGHEST)) / _linear_rgb(DAYLIGHT)
    return ratio / (ratio @ np.array([0.2126, 0.7152, 0.0722]))
