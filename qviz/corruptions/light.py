"""Linear light, in which light sources add up and exposure is a factor; sensor noise; and the colour of light.

Pixels (h, w, 3) uint8 RGB are display values, assumed to be sRGB (IEC 61966-2-1). Linear values are float32; the sensor
saturates at 1.0, and larger values are clipped, as in a camera. Every lighting corruption except gamma and contrast
works on linear values.

The sensor's noise has two parts, both in electrons: shot noise (Poisson, approximated by a Gaussian, which is good
above about ten electrons) and read noise. With a full well of N electrons and an amplification of 2**iso, noise with
this variance is added to a linear value s:

    variance = s * 2**iso / N  +  (read * 2**iso / N)**2

It is added after the gain, as in a sensor. Noise that the image already has is scaled by the gain. The correlation
between neighbouring pixels that results from demosaicing and from a camera's own denoising is not modelled.

The colour of light: in a camera whose white balance stays at daylight, each channel is scaled by the ratio of the
lamp's light to daylight. This is von Kries's law, one factor per channel in linear light (here for the channels of sRGB
instead of the sensor's). Sources: for the chromaticity of the Planckian locus, the cubic fit of Kim et al. (US patent
7 024 034; 1667..25000 K); for linear sRGB from XYZ, IEC 61966-2-1.

`exposure`, `gamma` and `temperature` take any amount, for sliders. Each is one lookup table per channel, so a picture
of 1280 x 960 takes about a millisecond. They draw no random numbers, and amounts outside their range are clipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from qviz.corruptions.blocks import Normals, by_rows

CODES = 65536
"""Number of entries in the table from linear to display values; each covers at most 1/20 of a display step."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """The noise of a camera sensor.

    Attributes:
        full_well: Number of electrons at saturation.
        read_noise: Standard deviation of the read noise, in electrons.
        iso: Amplification above the base sensitivity, in stops.
    """

    full_well: float = 6000.0  # a pixel of about 1.2 um, as in a phone or a webcam
    read_noise: float = 3.0
    iso: float = 0.0

    def sigma(self, linear: np.ndarray) -> np.ndarray:
        """Standard deviation of the noise at these linear values, in linear light."""
        amplified = 2.0**self.iso / self.full_well
        return np.sqrt(linear * np.float32(amplified) + np.float32((self.read_noise * amplified) ** 2))


def decode(encoded: np.ndarray) -> np.ndarray:
    """Convert display values in [0, 1] to linear light in [0, 1] by the exact sRGB transfer function."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encode(linear: np.ndarray) -> np.ndarray:
    """Convert linear light in [0, 1] to display values in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


TO_LINEAR = decode(np.arange(256) / 255).astype(np.float32)
TO_DISPLAY = np.rint(encode(np.arange(CODES) / (CODES - 1)) * 255).astype(np.uint8)


def to_linear(pixels: np.ndarray) -> np.ndarray:
    """Convert (h, w, c) uint8 display values to float32 linear light."""
    return np.asarray(cv2.LUT(pixels, TO_LINEAR[None]))


def to_pixels(linear: np.ndarray) -> np.ndarray:
    """Convert (h, w, c) linear light to uint8 display values; values outside [0, 1] are clipped."""
    codes = np.clip(linear, 0, 1)
    codes *= np.float32(CODES - 1)
    codes += np.float32(0.5)
    return np.asarray(cv2.LUT(codes.astype(np.uint16), TO_DISPLAY[None]))


def relit(
    pixels: np.ndarray,
    gain: np.ndarray | float = 1.0,
    added: np.ndarray | float = 0.0,
    sensor: Sensor | None = None,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """pixels * gain + added, computed in linear light, with the sensor's noise (if there is a sensor) and clipping.

    gain, added: Values of any shape that broadcasts to (h, w, 3).
    """
    gain, added = np.asarray(gain, np.float32), np.asarray(added, np.float32)
    even = gain.ndim < 2  # a single factor, or one per channel, becomes part of the lookup table
    table = TO_LINEAR[:, None] * gain if even else TO_LINEAR[:, None]
    gains = None if even else np.broadcast_to(gain, pixels.shape)
    sums = np.broadcast_to(added, pixels.shape) if added.any() else None
    noise = Normals(rng, pixels.shape) if rng is not None else None

    def part(rows: slice) -> np.ndarray:
        light = np.asarray(cv2.LUT(pixels[rows], table[None]))
        if gains is not None:
            light *= gains[rows]
        if sums is not None:
            light += sums[rows]
        if sensor is not None and noise is not None:
            light += sensor.sigma(light) * noise.rows(rows)
        return to_pixels(light)

    return by_rows(pixels, part)


DAYLIGHT = 6504.0
"""The correlated colour temperature of D65, sRGB's white point, in kelvin."""

MIN_KELVIN, MAX_KELVIN = 1700.0, 25000.0

SRGB_OF_XYZ = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def chromaticity(kelvin: float) -> tuple[float, float]:
    """CIE 1931 (x, y) of a black body at this temperature, 1667..25000 K."""
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
    """(3,) linear sRGB of a black body at this temperature with luminance 1."""
    x, y = chromaticity(kelvin)
    return np.maximum(SRGB_OF_XYZ @ np.array([x / y, 1.0, (1 - x - y) / y]), 0.0)


def gains(kelvin: float) -> np.ndarray:
    """(3,) factors for linear R, G, B under light of this temperature, which is clipped to 1700..25000 K.

    Grey keeps its luminance, and at daylight all factors are 1.
    """
    ratio = _linear_rgb(min(max(kelvin, MIN_KELVIN), MAX_KELVIN)) / _linear_rgb(DAYLIGHT)
    return ratio / (ratio @ np.array([0.2126, 0.7152, 0.0722]))


STOPS = (-8.0, 8.0)
GAMMAS = (0.1, 10.0)


def exposure(pixels: np.ndarray, stops: float) -> np.ndarray:
    """The pixels with linear light multiplied by 2**stops; highlights are clipped, and 0 stops change nothing."""
    return looked_up(pixels, to_pixels(TO_LINEAR * 2.0 ** np.clip(stops, *STOPS)))


def gamma(pixels: np.ndarray, g: float) -> np.ndarray:
    """The pixels with display values in [0, 1] raised to the power g: above 1 midtones get darker, below 1 lighter."""
    return looked_up(pixels, np.rint(255 * (np.arange(256) / 255) ** np.clip(g, *GAMMAS)).astype(np.uint8))


def temperature(pixels: np.ndarray, kelvin_shift: float) -> np.ndarray:
    """The pixels under light whose colour temperature differs from daylight (6504 K) by this much.

    Negative is warmer, positive is cooler.
    """
    return looked_up(pixels, to_pixels(TO_LINEAR[:, None] * gains(DAYLIGHT + kelvin_shift)))  # [256, 3]


def looked_up(pixels: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The pixels after a lookup table: (256,), or (256, 3) with one column per channel."""
    return np.asarray(cv2.LUT(pixels, np.ascontiguousarray(table.reshape(1, 256, -1))))
