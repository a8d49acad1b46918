"""Encoded images to pixels, safely: size is checked before anything is decoded, one bad file stops no other.

JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, and HEIC where pillow-heif is installed; of several frames the first. EXIF
orientation is applied, but for an image whose `size` says that its boxes were drawn without it (COCO's own, and
TensorFlow's decoders). How each kind of pixel becomes RGB is said in `qviz.datasets.pixels`.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from qviz.datasets import heic
from qviz.datasets.pixels import rgb
from qviz.errors import ImageError
from qviz.limits import limits
from qviz.structures import EncodedImage, Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
DAMAGED = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError),
    *(MemoryError, RuntimeError, ArithmeticError, struct.error),
)
"""What Pillow's readers stumble over, EXIF's and TIFF's among them."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""EXIF tag, and its values that swap width and height."""
TILE_SIDES = (322, 323)
"""TIFF tags: TileWidth, TileLength. A tile may claim more pixels than the image it belongs to."""
BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
"""Of formats that no other file begins like."""


def read_image(encoded: EncodedImage) -> Image:
    """Decode one image. Raises ImageError with the file's name, what was seen and what to do."""
    with _opened(encoded) as opened:
        pixels = rgb(_upright(opened, encoded.size), _tags(opened))
    return Image(encoded.name, pixels, encoded.digest)


def image_sizes(encoded: EncodedImage) -> tuple[tuple[int, int], tuple[int, int]]:
    """(width, height) as stored and as EXIF turns it, without decoding. Raises ImageError."""
    with _opened(encoded) as opened:
        width, height = opened.size
        return (width, height), (height, width) if _sideways(opened) else (width, height)


@contextmanager
def _opened(encoded: EncodedImage) -> Iterator[Pillow.Image]:
    """An image whose header is read and whose size is bearable; whatever its reader raises becomes an ImageError."""
    _check_size(encoded)
    formats: tuple[str, ...] = FORMATS
    if heic.is_heic(encoded.data):
        heic.check_heic(encoded.name)
        formats = (heic.FORMAT,)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(io.BytesIO(encoded.data), formats=formats) as opened:
                _check_pixels(encoded.name, opened)
                yield opened
    except UnidentifiedImageError as error:
        raise ImageError(f"{encoded.name} {_looks_like(encoded.data)}.") from error
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
        raise ImageError(
            f"{encoded.name} claims more than {limits().image_megapixels} megapixels; scale it down."
        ) from error
    except DAMAGED as error:
        raise ImageError(f"{encoded.name} is damaged or cut short ({error}); copy it again.") from error


def _upright(opened: Pillow.Image, size: tuple[int, int] | None) -> Pillow.Image:
    """EXIF orientation applied, except where `size` fits only the pixels as they are stored."""
    width, height = opened.size
    if _sideways(opened) and size == (width, height) and width != height:
        return opened
    if opened.getexif().get(ORIENTATION, 1) == 1:
        opened.load()  # as exif_transpose does, which would copy it as well: here a cut file is told from others
        return opened
    return ImageOps.exif_transpose(opened)


def _sideways(opened: Pillow.Image) -> bool:
    """A TIFF is none: Pillow has turned its size already, and turns its pixels when it loads them."""
    return opened.format != "TIFF" and opened.getexif().get(ORIENTATION) in SIDEWAYS


def _tags(opened: Pillow.Image) -> dict[int, Any]:
    return dict(getattr(opened, "tag_v2", {}))


def _check_size(encoded: EncodedImage) -> None:
    if not encoded.data:
        raise ImageError(f"{encoded.name} is empty (0 bytes); copy it again.")
    if len(encoded.data) > limits().image_mb << 20:
        raise ImageError(
            f"{encoded.name} has {len(encoded.data) >> 20} MB; images of up to {limits().image_mb} are read."
        )


def _check_pixels(name: str, opened: Pillow.Image) -> None:
    most = limits().image_megapixels
    tile = [_tags(opened).get(tag, 0) for tag in TILE_SIDES]
    for width, height in (opened.size, tile):
        if width * height > most * 1_000_000:
            raise ImageError(
                f"{name} claims {width} x {height} pixels; up to {most} megapixels are read: scale it down."
            )
    width, height = opened.size
    if width < 2 or height < 2:
        raise ImageError(f"{name} has {width} x {height} pixels: too small to hold an object.")


def _looks_like(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF of a kind that is not read (64-bit or float colours, perhaps); save it with 8 or 16 bits"
    if data.startswith(BEGINNINGS) or heic.is_heic(data):
        return "is damaged or cut short near its beginning; copy it again"
    known = "is no JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image"
    if data.lstrip()[:1] in (b"<", b"{"):
        return f"{known}: it begins like a text file"
    return f"{known}: it begins with the bytes {data[:4].hex(' ')}"


def preview(image: Image, longest: int = 1280) -> bytes:
    """A JPEG (quality 85) for the screen, at most `longest` pixels a side."""
    picture = Pillow.fromarray(image.pixels)
    picture.thumbnail((longest, longest), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
