"""Decode images in untrusted files; the size is checked before anything is decoded.

The formats are JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, and HEIC if pillow-heif is installed. If there are several
frames, the first is used. EXIF orientation is applied, unless an image's `size` shows that its boxes were drawn without
it, as in COCO's own annotations and in those made with TensorFlow's decoders.

How pixels are converted to RGB depends on the mode that Pillow reports:

16-bit grey   scaled by its own depth (65535, or 4095 in a 12-bit TIFF), not clipped; inverted if a TIFF says that
              0 is white
16-bit colour the upper byte of each channel, as Pillow reads it
I, F          32-bit and signed integers, float TIFF: floats within 0..1 are scaled to 0..255, values within 0..255
              are used unchanged, integers within 0..65535 are taken as 16-bit, and any other values are scaled from
              their own minimum and maximum
CMYK          Pillow undoes the inversion that Adobe applies in JPEG; the colour profile is ignored, as in TensorFlow
LAB           converted via sRGB
transparent   placed on white

HEIC is recognised by the brands of the `ftyp` box. Source: ISO/IEC 23008-12.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from qviz.errors import ImageError, reason
from qviz.limits import limits
from qviz.optional import install_command
from qviz.structures import EncodedImage, Image
from qviz.structures.file_kinds import described

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
DAMAGED = (
    *(OSError, ValueError, SyntaxError, TypeError, LookupError, EOFError),
    *(MemoryError, RuntimeError, ArithmeticError, struct.error),
)
"""Errors that Pillow's readers, including those for EXIF and TIFF tags, raise for damaged files."""
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)
"""The EXIF tag for the orientation, and those of its values that swap width and height."""
EXIF_IFD, EXPOSURE_TIME = 0x8769, 0x9003
TILE_SIDES = (322, 323)
"""TIFF tags TileWidth and TileLength. A tile may claim more pixels than its image."""
BITS, PHOTOMETRIC = 258, 262
"""TIFF tags BitsPerSample and PhotometricInterpretation (0: 0 is white)."""
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8")
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
MAX_DARK = 4095
"""A 16-bit image with no larger value than this, a sixteenth of the range, is nearly black."""
HEADER_BYTES = 256 << 10
"""Most headers lie within this many bytes; a WebP or a TIFF may need the whole file."""


def read_image(encoded: EncodedImage) -> Image:
    """Decode an image. Raises ImageError, whose message names the file and says what is wrong and what to do."""
    with _opened(encoded) as opened:
        pixels = _rgb(_upright(opened, encoded.size), _tags(opened))
    return Image(encoded.name, pixels, encoded.digest)


def image_sizes(encoded: EncodedImage) -> tuple[tuple[int, int], tuple[int, int]]:
    """((width, height) as stored, (width, height) after EXIF orientation), without decoding. Raises ImageError."""
    with _opened(encoded) as opened:
        width, height = opened.size
        return (width, height), (height, width) if _sideways(opened) else (width, height)


def exposure_hour(encoded: EncodedImage) -> int | None:
    """The hour, 0 to 23, at which EXIF says the picture was taken; None if it does not say. Raises ImageError."""
    with _opened(encoded) as opened:
        try:
            text = opened.getexif().get_ifd(EXIF_IFD).get(EXPOSURE_TIME)
        except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, struct.error):
            return None
    match = re.fullmatch(r"\d{4}:\d\d:\d\d ([01]\d|2[0-3]):\d\d:\d\d", str(text).strip("\0 "))
    return int(match.group(1)) if match else None


def upright_size(name: str, source: Path | bytes) -> tuple[int, int]:
    """(width, height) after EXIF orientation. Only the first bytes of the file are read, if they are sufficient.

    Raises ImageError.
    """
    if isinstance(source, bytes):
        return _upright_size(name, source)
    try:
        with source.open("rb") as stream:
            head = stream.read(HEADER_BYTES)
            if len(head) == HEADER_BYTES:
                try:
                    return _upright_size(name, head)
                except ImageError:
                    head += stream.read(limits().image_mb << 20)
            return _upright_size(name, head)
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror}).") from error


def _upright_size(name: str, data: bytes) -> tuple[int, int]:
    return image_sizes(EncodedImage(name, data, digest="not needed"))[1]


PNG, TIFFS = b"\x89PNG\r\n\x1a\n", (b"II*\0", b"MM\0*")


def may_have_16_bits(data: bytes) -> bool:
    """Whether a file, judged by its first bytes, is a 16-bit PNG or a TIFF."""
    return (data[:8] == PNG and data[24:25] == b"\x10") or data[:4] in TIFFS


def dark_range(encoded: EncodedImage) -> str:
    """A text about the range of values in a 16-bit image, if it is so small that the image is nearly black; else "".

    The usual reason is that a 16-bit file contains 12-bit or 8-bit values. Raises ImageError.
    """
    with _opened(encoded) as opened:
        tags = _tags(opened)
        is_colour_png = encoded.data[:8] == PNG and encoded.data[24:25] == b"\x10"
        is_wide = opened.mode.startswith("I;16") or is_colour_png or tags.get(BITS) in ((16,) * 3, (16,) * 4)
        if not is_wide or tags.get(BITS) == (12,):
            return ""
        values = np.asarray(opened)
        highest = int(values.max()) if values.dtype == np.uint16 else 256 * int(values.max()) + 255
        if highest > MAX_DARK or tags.get(PHOTOMETRIC) == 0:
            return ""
        return f"16 bits per value, but no value is above {highest} of 65535"


@contextmanager
def _opened(encoded: EncodedImage) -> Iterator[Pillow.Image]:
    """Open an image and check that its size is within the limits; errors of Pillow's readers become ImageError."""
    _check_bytes(encoded)
    formats: tuple[str, ...] = FORMATS
    if is_heic(encoded.data):
        _check_heic_reader(encoded.name)
        formats = ("HEIF",)
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
            f"{encoded.name} has more than {limits().image_megapixels} megapixels, which is the limit; scale it down."
        ) from error
    except DAMAGED as error:
        raise ImageError(f"{encoded.name} is damaged or cut short{reason(error)}; copy it again.") from error


def is_heic(data: bytes) -> bool:
    """Whether the `ftyp` box of a file lists a HEIC brand; the brand `mif1` alone may also be AVIF."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)
    return bool(HEIC_BRANDS & {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))})


def _check_heic_reader(name: str) -> None:
    if not _registered_heic():
        raise ImageError(
            f"{name} is a HEIC image, and reading it needs a package: {install_command('heic')}, or save it as JPEG."
        )


@functools.cache
def _registered_heic() -> bool:
    """Whether pillow-heif is installed; if so, it is registered with Pillow, which can then read HEIC."""
    try:
        import pillow_heif  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _upright(opened: Pillow.Image, size: tuple[int, int] | None) -> Pillow.Image:
    """The image with EXIF orientation applied, unless `size` only matches the pixels as they are stored."""
    width, height = opened.size
    if _sideways(opened) and size == (width, height) and width != height:
        return opened
    if opened.getexif().get(ORIENTATION, 1) == 1:
        opened.load()  # exif_transpose would also copy it
        return opened
    return ImageOps.exif_transpose(opened)


def _sideways(opened: Pillow.Image) -> bool:
    """Whether EXIF swaps the sides. False for TIFF, because there Pillow itself applies the orientation."""
    return opened.format != "TIFF" and opened.getexif().get(ORIENTATION) in SIDEWAYS


def _tags(opened: Pillow.Image) -> dict[int, Any]:
    return dict(getattr(opened, "tag_v2", {}))


def _check_bytes(encoded: EncodedImage) -> None:
    if not encoded.data:
        raise ImageError(f"{encoded.name} is empty (0 bytes); copy it again.")
    if len(encoded.data) > limits().image_mb << 20:
        raise ImageError(
            f"{encoded.name} is {len(encoded.data) >> 20} MB; the limit for an image is {limits().image_mb} MB."
        )


def _check_pixels(name: str, opened: Pillow.Image) -> None:
    max_megapixels = limits().image_megapixels
    tile = [_tags(opened).get(tag, 0) for tag in TILE_SIDES]
    for width, height in (opened.size, tile):
        if width * height > max_megapixels * 1_000_000:
            raise ImageError(
                f"{name} has {width} x {height} pixels; the limit is {max_megapixels} megapixels: scale it down."
            )
    width, height = opened.size
    if width < 2 or height < 2:
        raise ImageError(f"{name} has {width} x {height} pixels: too small to show an object.")


def _looks_like(data: bytes) -> str:
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF of an unsupported kind (64-bit or float colours, perhaps); save it with 8 or 16 bits"
    if data.startswith(SIGNATURES) or is_heic(data):
        return "is damaged or cut short near its beginning; copy it again"
    sentence = "is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image"
    return f"{sentence}: {described(data).removesuffix('.')}"


def _rgb(picture: Pillow.Image, tags: Mapping[int, Any]) -> np.ndarray:
    """The picture as (h, w, 3) uint8 RGB. tags: those of a TIFF, else empty."""
    if picture.mode.startswith("I;16"):
        return _grey(_sixteen_bit(np.asarray(picture), tags))
    if picture.mode in ("I", "F"):
        return _grey(_wide(np.asarray(picture)))
    if picture.mode == "LAB":
        profiles = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return np.array(ImageCms.profileToProfile(picture, *profiles, outputMode="RGB"))
    if picture.mode in ("La", "RGBa"):  # colours that are premultiplied by alpha
        picture = picture.convert(picture.mode.upper())
    if "A" in picture.getbands() or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        white = Pillow.new("RGBA", layered.size, "white")
        return np.array(Pillow.alpha_composite(white, layered).convert("RGB"))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _grey(levels: np.ndarray) -> np.ndarray:
    """(h, w) real values in 0..255 as (h, w, 3) uint8 with three equal channels."""
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


def preview(image: Image, longest: int = 1280) -> bytes:
    """A JPEG of quality 85 for the screen, whose longer side has at most `longest` pixels."""
    picture = Pillow.fromarray(image.pixels)
    picture.thumbnail((longest, longest), Pillow.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
