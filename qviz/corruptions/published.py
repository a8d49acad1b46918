"""Corruptions of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), with their published constants.

Pixels are (h, w, 3) uint8 RGB; the constants refer to display values in [0, 1]. As in COCO-C (Michaelis et al., 2019),
radii (in pixels) and noise do not grow with the image, so a large image is blurred less relative to its size. The
differences are:

1. motion_blur: uses the kernel of COCO-C's version without ImageMagick (half a Gaussian along a line at a random angle)
   as a single filter.
2. zoom_blur: OpenCV zooms every layer about the centre, bilinearly; COCO-C's layers are off by up to a pixel.
3. fog: the map is as large as the image requires, as in COCO-C.
4. jpeg_compression: uses the encoder of the installed Pillow.
5. pixelate: enlarges with a box filter, as in ImageNet-C; COCO-C takes the nearest pixel.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image as Pillow

from qviz.corruptions.blocks import Normals, by_rows

GAUSSIAN_NOISE = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT = (60, 25, 12, 5, 3)
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)


def gaussian_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, equally strong everywhere."""
    sigma = np.float32(255 * GAUSSIAN_NOISE[severity - 1])
    noise = Normals(rng, pixels.shape)
    return by_rows(pixels, lambda rows: to_bytes(pixels[rows] + sigma * noise.rows(rows)))


def shot_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Poisson noise, with fewer photons at higher severities."""
    photons = SHOT[severity - 1]
    step = np.float32(255 / photons)
    return by_rows(pixels, lambda rows: to_bytes(rng.poisson(pixels[rows] * (photons / 255)) * step))


def impulse_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Salt and pepper in equal parts, drawn per channel."""
    share = IMPULSE[severity - 1]

    def part(rows: slice) -> np.ndarray:
        drawn = rng.random(pixels[rows].shape, dtype=np.float32)
        return np.where(drawn < share, np.where(drawn < share / 2, np.uint8(0), np.uint8(255)), pixels[rows])

    return by_rows(pixels, part)


def speckle_noise(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise in proportion to each value."""
    sigma = np.float32(SPECKLE[severity - 1])
    noise = Normals(rng, pixels.shape)
    return by_rows(pixels, lambda rows: to_bytes(pixels[rows] * (1 + sigma * noise.rows(rows))))


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Convert display values 0..255 to uint8 by truncation instead of rounding, as in the published images."""
    return np.clip(values, 0, 255).astype(np.uint8)


DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""(radius of the disc, sigma that softens its edge)."""

MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""(radius, sigma): 2 * radius + 1 steps along the line."""

ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
"""(end, step) of the zoom factors, which start at 1; the end is excluded."""

GAUSSIAN_BLUR = (1, 2, 3, 4, 6)


def gaussian_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, the same in every direction."""
    sigma = GAUSSIAN_BLUR[severity - 1]
    side = 2 * (4 * sigma) + 1  # cut off at four sigmas, as in scikit-image
    return np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma, borderType=cv2.BORDER_REPLICATE))


def defocus_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus."""
    return np.asarray(cv2.filter2D(pixels, -1, disc(*DEFOCUS[severity - 1])))


def motion_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Motion along a line at -45 to 45 degrees from the horizontal."""
    kernel, anchor = line(*MOTION[severity - 1], angle=rng.uniform(-45, 45))
    return np.asarray(cv2.filter2D(pixels, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE))


def zoom_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The mean of the image and zoomed copies of it, as if the lens zoomed while the shutter was open."""
    height, width = pixels.shape[:2]
    factors = np.arange(1, *ZOOM[severity - 1])
    total = pixels.astype(np.float32)
    for factor in factors:
        matrix = np.array([[factor, 0, (1 - factor) * (width - 1) / 2], [0, factor, (1 - factor) * (height - 1) / 2]])
        cv2.accumulate(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), total)
    return (total / (len(factors) + 1)).astype(np.uint8)


def disc(radius: int, sigma: float) -> np.ndarray:
    """The kernel for a lens out of focus: a circle of confusion with this radius and a softened edge."""
    reach = max(8, radius)
    along = np.arange(-reach, reach + 1)
    inside = (along[None, :] ** 2 + along[:, None] ** 2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    return np.asarray(cv2.GaussianBlur(inside / inside.sum(), (side, side), sigma))


def line(radius: int, sigma: float, angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    """(kernel, anchor) of a line at `angle` degrees; its weight i steps from the anchor is exp(-i^2 / (2 sigma^2))."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2.0 * sigma**2))
    x = np.ceil(steps * np.cos(np.radians(angle)) - 0.5).astype(int)
    y = np.ceil(steps * np.sin(np.radians(angle)) - 0.5).astype(int)
    kernel = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1), np.float32)
    np.add.at(kernel, (y - y.min(), x - x.min()), weights / weights.sum())
    return kernel, (int(-x.min()), int(-y.min()))


CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
"""(strength, decay of the clouds' fine detail)."""

MAX_SIDE = 4096
"""Largest side of the fog map in pixels; larger images repeat it seamlessly."""

JPEG = (25, 18, 15, 10, 7)
PIXELATE = (0.6, 0.5, 0.4, 0.3, 0.25)


def contrast(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Each channel moved towards its mean."""
    means, contrast_left = np.array(cv2.mean(pixels)[:3]), CONTRAST[severity - 1]
    table = (np.arange(256)[:, None] - means) * contrast_left + means  # [256, 3]
    return np.asarray(cv2.LUT(pixels, to_bytes(table).reshape(1, 256, 3)))


def brightness(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with a constant added to V of HSV. Hue and saturation do not change.

    Because V = max(R, G, B), this is one factor per pixel.
    """
    raise_by = np.float32(255 * BRIGHTNESS[severity - 1])

    def part(rows: slice) -> np.ndarray:
        value = np.max(pixels[rows], axis=2, keepdims=True).astype(np.float32)  # [k, w, 1]
        raised = np.minimum(value + raise_by, 255)
        scaled = np.where(value > 0, pixels[rows] * (raised / np.maximum(value, 1)), raised)  # black becomes grey
        return to_bytes(scaled + np.float32(1e-3))  # so that truncation does not lower a whole number by one

    return by_rows(pixels, part)


def fog(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture with clouds added, then scaled so that its brightest value cannot exceed that of the original."""
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
    """The picture encoded as a JPEG of low quality and decoded again."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=JPEG[severity - 1])
    return np.array(Pillow.open(file))


def pixelate(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The picture shrunk and enlarged again with a box filter."""
    height, width = pixels.shape[:2]
    small = max(1, int(width * PIXELATE[severity - 1])), max(1, int(height * PIXELATE[severity - 1]))
    shrunk = Pillow.fromarray(pixels).resize(small, Pillow.Resampling.BOX)
    return np.array(shrunk.resize((width, height), Pillow.Resampling.BOX))


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """(side, side) float32 clouds in [0, 1], made by diamond-square on a torus; `side` is a power of two.

    Whenever the step is halved, the centres of the squares and then those of the diamonds become the mean of their four
    neighbours plus a random number in -w^2..w^2; w starts at 100 and is divided by `decay` at each halving.
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
    """The mean of four neighbours, given their sum, plus a random number in -reach..reach."""
    return four / 4 + (rng.random(four.shape, np.float32) * 2 - 1) * np.float32(reach)


def _two(values: np.ndarray, shift: int, axis: int) -> np.ndarray:
    """Each value plus its neighbour along the axis, wrapping around at the edges."""
    return values + np.roll(values, shift, axis)
