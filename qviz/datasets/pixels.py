"""What Pillow opened, whatever its mode, to (h, w, 3) uint8 RGB.

16-bit grey   scaled by its own depth (65535, or 4095 in a 12-bit TIFF), not clipped to white; inverted where a TIFF
              says that 0 is white
16-bit colour Pillow keeps the upper byte of each channel
I, F          32-bit and signed integers, float TIFF: floats within 0..1 are stretched to 0..255, values within 0..255
              stay, integers within 0..65535 are taken as 16-bit, and anything else is stretched from its own min..max
CMYK          as Adobe writes it in JPEG (inverted), which Pillow undoes; without the colour profile, as TensorFlow
LAB           through sRGB
transparent   laid on white, as a viewer shows it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

BITS, PHOTOMETRIC = 258, 262
"""TIFF tags: BitsPerSample; PhotometricInterpretation, 0 where 0 is white."""


def rgb(picture: Pillow.Image, tags: Mapping[int, Any]) -> np.ndarray:
    """(h, w, 3) uint8; `tags` are those of a TIFF, else empty."""
    if picture.mode.startswith("I;16"):
        return _grey(_sixteen_bit(np.asarray(picture), tags))
    if picture.mode in ("I", "F"):
        return _grey(_wide(np.asarray(picture)))
    if picture.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.array(ImageCms.profileToProfile(picture, *profiles, outputMode="RGB"))
    if picture.mode in ("La", "RGBa"):  # colours multiplied by alpha already
        picture = picture.convert(picture.mode.upper())
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Pillow.new("RGBA", layered.size, "white")
        return np.array(Pillow.alpha_composite(white, layered).convert("RGB"))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _grey(levels: np.ndarray) -> np.ndarray:
    """(h, w) real values on 0..255 to three channels."""
    grey = np.rint(levels).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _sixteen_bit(values: np.ndarray, tags: Mapping[int, Any]) -> np.ndarray:
    white = 4095 if tags.get(BITS) == (12,) else 65535
    levels = values.astype(np.float32) * np.float32(255 / white)
    return 255 - levels if tags.get(PHOTOMETRIC) == 0 else levels


def _wide(values: np.ndarray) -> np.ndarray:
    levels = values.astype(np.float32)
    finite = levels[np.isfinite(levels)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    levels = np.nan_to_num(levels, nan=low, posinf=high, neginf=low)
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        return levels * 255
    if low >= 0 and high <= 255:
        return levels
    if low >= 0 and values.dtype.kind == "i" and high <= 65535:
        return levels / 257
    return (levels - low) * (255 / max(high - low, 1e-30))
