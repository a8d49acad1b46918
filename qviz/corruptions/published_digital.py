"""ImageNet-C's weather and digital corruptions (Hendrycks and Dietterich, ICLR 2019), by their published constants.

pixels (h, w, 3) uint8 RGB, computed on display values in [0, 1]. `contrast` is theirs too: one definition, one row.
Where ours differ: fog's map is as large as the image needs (COCO-C does so too); the JPEG coder is the installed
Pillow's; pixelate grows by boxes as ImageNet-C does, where COCO-C takes the nearest pixel.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image as Pillow

from qviz.corruptions.blocks import by_rows
from qviz.corruptions.published_noise import to_bytes

CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
"""(strength, how fast the clouds lose their fine parts)."""

MAX_SIDE = 4096
"""Of fog's map, which is repeated from there on without a seam."""

JPEG = (25, 18, 15, 10, 7)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)


def contrast(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Each channel drawn towards its mean."""
    means, kept = np.array(cv2.mean(pixels)[:3]), CONTRAST[severity - 1]
    table = (np.arange(256)[:, None] - means) * kept + means  # [256, 3]
    return np.asarray(cv2.LUT(pixels, to_bytes(table).reshape(1, 256, 3)))


def brightness(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """V of HSV plus a constant, hue and saturation kept: with V = max(R, G, B), that is a factor of each pixel."""
    raise_by = np.float32(255 * BRIGHTNESS[severity - 1])

    def part(rows: slice) -> np.ndarray:
        value = np.max(pixels[rows], axis=2, keepdims=True).astype(np.float32)  # [k, w, 1]
        raised = np.minimum(value + raise_by, 255)
        scaled = np.where(value > 0, pixels[rows] * (raised / np.maximum(value, 1)), raised)  # black becomes grey
        return to_bytes(scaled + np.float32(1e-3))  # a whole number stays one when cut off

    return by_rows(pixels, part)


def fog(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Clouds added, then all scaled back to the brightest value there was."""
    strength, decay = FOG[severity - 1]
    height, width = pixels.shape[:2]
    brightest = pixels.max() / 255
    side = min(MAX_SIDE, 1 << max(1, (max(height, width) - 1).bit_length()))
    share = brightest / (brightest + strength)
    clouds = plasma(side, decay, rng) * np.float32(255 * strength * share)
    y, x = np.arange(height) % side, np.arange(width) % side

    def part(rows: slice) -> np.ndarray:
        return to_bytes(pixels[rows] * np.float32(share) + clouds[y[rows, None], x, None])

    return by_rows(pixels, part)


def jpeg_compression(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Encoded and decoded again."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=JPEG[severity - 1])
    return np.array(Pillow.open(file))


def pixelate(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Shrunk and grown again, by boxes."""
    height, width = pixels.shape[:2]
    small = max(1, int(width * PIXELATE[severity - 1])), max(1, int(height * PIXELATE[severity - 1]))
    shrunk = Pillow.fromarray(pixels).resize(small, Pillow.Resampling.BOX)
    return np.array(shrunk.resize((width, height), Pillow.Resampling.BOX))


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """(side, side) float32 clouds in [0, 1] by diamond-square on a torus; `side` is a power of two.

    Each halving of the step fills the centres of the squares, then those of the diamonds, with the mean of their four
    neighbours plus a draw from -w^2..w^2; w starts at 100 and is divided by `decay` with each halving.
    """
    clouds = np.zeros((side, side), np.float32)
    step, wobble = side, 100.0
    while step >= 2:
        half, reach = step // 2, wobble**2
        corners = clouds[::step, ::step]
        centres = _between(_two(_two(corners, -1, 0), -1, 1), reach, rng)
        clouds[half::step, half::step] = centres
        clouds[::step, half::step] = _between(_two(centres, 1, 0) + _two(corners, -1, 1), reach, rng)
        clouds[half::step, ::step] = _between(_two(centres, 1, 1) + _two(corners, -1, 0), reach, rng)
        step, wobble = half, wobble / decay
    clouds -= clouds.min()
    clouds /= max(float(clouds.max()), 1e-6)
    return clouds


def _between(four: np.ndarray, reach: float, rng: np.random.Generator) -> np.ndarray:
    """The mean of four neighbours, from their sum, plus a draw."""
    return four / 4 + (rng.random(four.shape, np.float32) * 2 - 1) * np.float32(reach)


def _two(values: np.ndarray, shift: int, axis: int) -> np.ndarray:
    """Each value plus its neighbour along the axis, around the torus."""
    return values + np.roll(values, shift, axis)
