"""Linear light: where light adds and exposure multiplies. Every lighting corruption but gamma and contrast works here.

pixels (h, w, 3) uint8 RGB are display values, taken as sRGB (IEC 61966-2-1); linear values are float32, 1.0 is where
the sensor saturates, and more than that is clipped, as a camera clips it.

The sensor's noise has two parts, both in electrons: shot noise (Poisson; here its Gaussian, good from about ten
electrons on) and read noise. With a full well of N electrons and an amplification of 2**iso, a linear value s gets

    variance = s * 2**iso / N  +  (read * 2**iso / N)**2

added after the gain, as the sensor does it. What noise the image had is scaled with it. Left out: the correlation that
demosaicing and a camera's own denoising leave between neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from qviz.corruptions.blocks import by_rows
from qviz.corruptions.normals import Normals

CODES = 65536
"""Steps of the way back: 1/20 of a display step or finer everywhere, so rounding is the display's own."""


@dataclass(frozen=True, slots=True)
class Sensor:
    """full_well: electrons at saturation; read_noise: electrons; iso: stops of amplification above the base."""

    full_well: float = 6000.0  # a phone's or a webcam's pixel of about 1.2 um
    read_noise: float = 3.0
    iso: float = 0.0

    def sigma(self, linear: np.ndarray) -> np.ndarray:
        """Standard deviation of the noise at these linear values, in linear light."""
        amplified = 2.0**self.iso / self.full_well
        return np.sqrt(linear * np.float32(amplified) + np.float32((self.read_noise * amplified) ** 2))


def decode(encoded: np.ndarray) -> np.ndarray:
    """Display values in [0, 1] to linear light in [0, 1]: the sRGB transfer function, exact."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encode(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] to display values in [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


TO_LINEAR = decode(np.arange(256) / 255).astype(np.float32)
TO_DISPLAY = np.rint(encode(np.arange(CODES) / (CODES - 1)) * 255).astype(np.uint8)


def to_linear(pixels: np.ndarray) -> np.ndarray:
    """uint8 display values to float32 linear light, (h, w, c)."""
    return np.asarray(cv2.LUT(pixels, TO_LINEAR[None]))


def to_pixels(linear: np.ndarray) -> np.ndarray:
    """Linear light (h, w, c) to uint8 display values; what is above 1 is clipped."""
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
    """pixels * gain + added, in linear light, then the sensor's noise and its clipping.

    gain, added: whatever broadcasts to (h, w, 3).
    """
    gain, added = np.asarray(gain, np.float32), np.asarray(added, np.float32)
    even = gain.ndim < 2  # a factor for all, or one a channel: it becomes a part of the lookup
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
