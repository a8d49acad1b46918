"""Decoding of images made in memory; their colours show orientation and conversion."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from qviz.datasets.images import preview, read_image
from qviz.errors import ImageError
from qviz.structures import EncodedImage, Image

RED, GREEN = (255, 0, 0), (0, 255, 0)


def encode(picture: Pillow.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def red_left_of_green(width: int = 8, height: int = 4) -> Pillow.Image:
    picture = Pillow.new("RGB", (width, height), GREEN)
    picture.paste(RED, (0, 0, width // 2, height))
    return picture


def pixels(data: bytes) -> np.ndarray:
    return read_image(EncodedImage("x", data)).pixels


def png(width: int, height: int) -> bytes:
    """A few bytes that claim to be a large picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


WHOLE = encode(Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG")

REFUSED = [
    (b"", "is empty (0 bytes)"),
    (b"<html>not found</html>", "image: it is a web page, perhaps the message of a failed download"),
    (b'{"error": 404}', "it looks like JSON"),
    (b"\x00\x01\x02\x03rest", "it begins with the bytes 00 01 02 03"),
    (encode(red_left_of_green(), "PPM"), "is not a JPEG, PNG, WebP"),
    (encode(red_left_of_green(), "ICO"), "is not a JPEG, PNG, WebP"),
    (WHOLE[: len(WHOLE) // 2], "is damaged or cut short"),
    (encode(red_left_of_green(300, 300))[:-60], "is damaged or cut short"),
    (png(10_000, 5_001), "has 10000 x 5001 pixels; the limit is 50 megapixels"),
    (png(60_000, 60_000), "megapixels"),
    (encode(Pillow.new("RGB", (1, 50))), "has 1 x 50 pixels: too small"),
    (encode(Pillow.new("RGB", (50, 1))), "has 50 x 1 pixels: too small"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_unreadable_images_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(EncodedImage("street.jpg", data))
    assert str(caught.value).startswith("street.jpg ")
    assert sentence in str(caught.value)


def test_oversized_images_are_refused_before_decoding(limited: Callable[[str], None]) -> None:
    limited("image_mb = 3")
    with pytest.raises(ImageError, match="is 3 MB; the limit for an image is 3 MB"):
        read_image(EncodedImage("x", bytes((3 << 20) + 1), digest="not worth computing"))


def test_the_pixel_limit_is_configurable(limited: Callable[[str], None]) -> None:
    limited("image_megapixels = 2")
    with pytest.raises(ImageError, match="the limit is 2 megapixels"):
        read_image(EncodedImage("x.png", png(2_000, 1_001)))


def left_and_right(decoded: np.ndarray) -> tuple[list[int], list[int]]:
    return decoded[0, 0].tolist(), decoded[-1, -1].tolist()


@pytest.mark.parametrize(
    ("orientation", "shape", "first", "last"),
    [(1, (4, 8), RED, GREEN), (3, (4, 8), GREEN, RED), (6, (8, 4), RED, GREEN), (8, (8, 4), GREEN, RED)],
)
def test_exif_orientation_is_applied(orientation: int, shape: tuple[int, int], first: Any, last: Any) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    decoded = pixels(encode(red_left_of_green(), exif=exif))
    assert decoded.shape == (*shape, 3)
    assert left_and_right(decoded) == (list(first), list(last))


def grey_16() -> Pillow.Image:
    return Pillow.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16))


def half_transparent() -> Pillow.Image:
    return Pillow.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0]]] * 2, np.uint8), "RGBA")


def palette(**_: Any) -> Pillow.Image:
    return red_left_of_green(2, 2).quantize(4)


MODES = [
    (red_left_of_green(2, 2), {}, [RED, GREEN, RED, GREEN]),
    (palette(), {}, [RED, GREEN, RED, GREEN]),
    (Pillow.fromarray(np.array([[0, 100], [200, 255]], np.uint8)), {}, [(0,) * 3, (100,) * 3, (200,) * 3, (255,) * 3]),
    (grey_16(), {}, [(0,) * 3, (100,) * 3, (200,) * 3, (255,) * 3]),  # scaled, not clipped to white
    (half_transparent(), {}, [RED, (255,) * 3] * 2),  # transparent red becomes white, as in image viewers
    (Pillow.new("LA", (2, 2), (0, 0)), {}, [(255,) * 3] * 4),
    (palette(), {"transparency": 0}, None),
    (Pillow.new("1", (2, 2), 1), {}, [(255,) * 3] * 4),
]


@pytest.mark.parametrize(("picture", "options", "expected"), MODES)
def test_any_mode_becomes_rgb(picture: Pillow.Image, options: dict[str, Any], expected: Any) -> None:
    decoded = pixels(encode(picture, **options))
    assert (decoded.dtype, decoded.shape) == (np.uint8, (2, 2, 3))
    flat = [tuple(pixel) for pixel in decoded.reshape(-1, 3).tolist()]
    if expected is None:  # Pillow decides the order of the palette
        assert (255, 255, 255) in flat
    else:
        assert flat == expected


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF"])
def test_lossless_formats_are_read_exactly(kind: str) -> None:
    decoded = pixels(encode(red_left_of_green(), kind))
    assert left_and_right(decoded) == (list(RED), list(GREEN))
    assert decoded.shape == (4, 8, 3)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_are_read(kind: str) -> None:
    decoded = pixels(encode(red_left_of_green(64, 64), kind, quality=95)).astype(int)
    assert np.abs(decoded[32, 8] - RED).max() < 12
    assert np.abs(decoded[32, 56] - GREEN).max() < 12


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_a_damaged_file_is_an_image_or_an_image_error(kind: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    whole, rng = encode(red_left_of_green(40, 30), kind, exif=exif), random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            with warnings.catch_warnings(action="ignore"):  # Pillow warns of EXIF that it skips
                assert pixels(bytes(damaged)).ndim == 3
        except ImageError:
            refused += 1
    assert refused > 0


def test_damaged_exif_gives_an_image_or_an_image_error() -> None:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "hello"
    whole, rng = encode(red_left_of_green(60, 40), "JPEG", exif=exif), random.Random(3)
    start = whole.index(b"Exif\0\0")
    for _ in range(1500):  # Pillow lets struct.error through for some of these
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[start + 6 + rng.randrange(60)] = rng.randrange(256)
        try:
            with warnings.catch_warnings(action="ignore"):
                pixels(bytes(damaged))
        except ImageError:
            continue


def test_preview_is_a_jpeg_of_bounded_size() -> None:
    wide = Image("x", np.zeros((100, 400, 3), np.uint8), "")
    with Pillow.open(io.BytesIO(preview(wide, longest=200))) as shown:
        assert (shown.format, shown.size) == ("JPEG", (200, 50))
    with Pillow.open(io.BytesIO(preview(wide))) as shown:
        assert shown.size == (400, 100)  # never enlarged
