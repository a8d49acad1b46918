"""Encoded images to pixels, safely: size is checked before anything is decoded, one bad file stops no other.

EXIF orientation is applied; greyscale and palettes become RGB; transparent pixels are laid on white, as a viewer shows
them; 16-bit grey is scaled, not clipped.
"""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from qviz.errors import ImageError
from qviz.structures import EncodedImage, Image

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_BYTES = 64 << 20
MAX_PIXELS = 50_000_000
"""A phone's 48 megapixels pass; a bomb of 178 does not."""
DAMAGED = (OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError, MemoryError, OverflowError, struct.error)
"""What Pillow's readers stumble over, EXIF's among them."""


def read_image(encoded: EncodedImage) -> Image:
    """Decode one image. Raises ImageError with the file's name, what was seen and what to do."""
    _check_size(encoded)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(io.BytesIO(encoded.data), formats=FORMATS) as opened:
                _check_pixels(encoded.name, opened)
                pixels = _rgb(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError as error:
        raise ImageError(f"{encoded.name} is no JPEG, PNG or WebP image: {_looks_like(encoded.data)}.") from error
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise ImageError(
            f"{encoded.name} claims more than {MAX_PIXELS / 1e6:.0f} megapixels; scale it down."
        ) from error
    except DAMAGED as error:
        raise ImageError(f"{encoded.name} is damaged or cut short ({error}); copy it again.") from error
    return Image(encoded.name, pixels, encoded.digest)


def _check_size(encoded: EncodedImage) -> None:
    if not encoded.data:
        raise ImageError(f"{encoded.name} is empty (0 bytes); copy it again.")
    if len(encoded.data) > MAX_BYTES:
        raise ImageError(
            f"{encoded.name} has {len(encoded.data) >> 20} MB; images of up to {MAX_BYTES >> 20} are read."
        )


def _check_pixels(name: str, opened: Pillow.Image) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} claims {width} x {height} pixels; up to {MAX_PIXELS / 1e6:.0f} megapixels are read: scale it down."
        )
    if width < 2 or height < 2:
        raise ImageError(f"{name} has {width} x {height} pixels: too small to hold an object.")


def _rgb(opened: Pillow.Image) -> np.ndarray:
    """(h, w, 3) uint8."""
    if opened.mode.startswith("I"):  # 16-bit grey: convert("RGB") would clip everything to white
        wide = np.asarray(opened).astype(np.float32)
        grey = np.rint(wide / 257).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if "A" in opened.getbands() or "transparency" in opened.info:
        layered = opened.convert("RGBA")
        white = Pillow.new("RGBA", layered.size, "white")
        return np.array(Pillow.alpha_composite(white, layered).convert("RGB"))
    return np.array(opened.convert("RGB"))


def _looks_like(data: bytes) -> str:
    if data.lstrip()[:1] in (b"<", b"{"):
        return "it begins like a text file"
    return f"it begins with the bytes {data[:4].hex(' ')}"


def preview(image: Image, longest: int = 1280) -> bytes:
    """A JPEG (quality 85) for the screen, at most `longest` pixels a side."""
    picture = Pillow.fromarray(image.pixels)
    picture.thumbnail((longest, longest), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
