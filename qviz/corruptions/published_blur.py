"""Blurs of ImageNet-C (Hendrycks and Dietterich, ICLR 2019), by their published constants; radii are in pixels.

pixels (h, w, 3) uint8 RGB. As in COCO-C (Michaelis et al., 2019) radii do not grow with the image, so a large image is
blurred less beside its size. Where ours differ:

1. motion_blur: the kernel of COCO-C's rewriting without ImageMagick (half a Gaussian along a line at a drawn angle),
   as one filter.
2. zoom_blur: every layer is zoomed about the centre by OpenCV, bilinear; COCO-C's are off by up to a pixel.
"""

from __future__ import annotations

import cv2
import numpy as np

DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""(radius of the disc, sigma that softens its edge)."""

MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""(radius, sigma): 2 * radius + 1 steps along the line."""

ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
"""(end, step) of the zoom factors from 1 on."""

GAUSSIAN = (1, 2, 3, 4, 6)


def gaussian_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """In every direction alike."""
    sigma = GAUSSIAN[severity - 1]
    side = 2 * (4 * sigma) + 1  # cut at four sigmas, as scikit-image does
    return np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma, borderType=cv2.BORDER_REPLICATE))


def defocus_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus."""
    return np.asarray(cv2.filter2D(pixels, -1, disc(*DEFOCUS[severity - 1])))


def motion_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """Along a line at -45 to 45 degrees from the horizontal."""
    kernel, anchor = line(*MOTION[severity - 1], angle=rng.uniform(-45, 45))
    return np.asarray(cv2.filter2D(pixels, -1, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE))


def zoom_blur(pixels: np.ndarray, severity: int, rng: np.random.Generator) -> np.ndarray:
    """The mean of the image and of its zooms, as if the lens were zoomed while the shutter is open."""
    height, width = pixels.shape[:2]
    factors = np.arange(1, *ZOOM[severity - 1])
    total = pixels.astype(np.float32)
    for factor in factors:
        matrix = np.array([[factor, 0, (1 - factor) * (width - 1) / 2], [0, factor, (1 - factor) * (height - 1) / 2]])
        cv2.accumulate(cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), total)
    return (total / (len(factors) + 1)).astype(np.uint8)


def disc(radius: int, sigma: float) -> np.ndarray:
    """A lens's circle of confusion, its edge softened."""
    reach = max(8, radius)
    along = np.arange(-reach, reach + 1)
    inside = (along[None, :] ** 2 + along[:, None] ** 2 <= radius**2).astype(np.float32)
    side = 3 if radius <= 8 else 5
    return np.asarray(cv2.GaussianBlur(inside / inside.sum(), (side, side), sigma))


def line(radius: int, sigma: float, angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    """(kernel, anchor): weights exp(-i^2 / 2 sigma^2) at the i-th step from the anchor, at `angle` degrees."""
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2.0 * sigma**2))
    x = np.ceil(steps * np.cos(np.radians(angle)) - 0.5).astype(int)
    y = np.ceil(steps * np.sin(np.radians(angle)) - 0.5).astype(int)
    kernel = np.zeros((np.ptp(y) + 1, np.ptp(x) + 1), np.float32)
    np.add.at(kernel, (y - y.min(), x - x.min()), weights / weights.sum())
    return kernel, (int(-x.min()), int(-y.min()))
