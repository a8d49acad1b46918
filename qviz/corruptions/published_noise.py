"""Noises of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), on display values in [0, 1], by published constants.

pixels (h, w, 3) uint8 RGB. COCO-C (Michaelis et al., 2019) uses the same numbers at every size of image.
"""

from __future__ import annotations

import numpy as np

from qviz.corruptions.blocks import by_rows
from qviz.corruptions.normals import Normals

GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT = (60, 25, 12, 5, 3)
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)


def gaussian_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Of equal strength everywhere."""
    sigma = np.float32(255 * GAUSSIAN[severity - 1])
    noise = Normals(rng, pixels.shape)
    return by_rows(pixels, lambda rows: to_bytes(pixels[rows] + sigma * noise.rows(rows)))


def shot_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Poisson, with so many photons at white."""
    photons = SHOT[severity - 1]
    step = np.float32(255 / photons)
    return by_rows(pixels, lambda rows: to_bytes(rng.poisson(pixels[rows] * (photons / 255)) * step))


def impulse_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper in equal parts, each channel for itself."""
    share = IMPULSE[severity - 1]

    def part(rows: slice) -> np.ndarray:
        drawn = rng.random(pixels[rows].shape, dtype=np.float32)
        return np.where(drawn < share, np.where(drawn < share / 2, np.uint8(0), np.uint8(255)), pixels[rows])

    return by_rows(pixels, part)


def speckle_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """In proportion to the value."""
    sigma = np.float32(SPECKLE[severity - 1])
    noise = Normals(rng, pixels.shape)
    return by_rows(pixels, lambda rows: to_bytes(pixels[rows] * (1 + sigma * noise.rows(rows))))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Display values 0..255 to uint8. Cut off, not rounded, as the published images were."""
    return np.clip(values, 0, 255).astype(np.uint8)
