"""Image formats other than JPEG, PNG and WebP, and more than 8 bits per channel; all made in memory."""

from __future__ import annotations

import io
import random
import struct
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from qviz.datasets import images
from qviz.datasets.files import is_image_name
from qviz.datasets.images import FORMATS, SUFFIXES, image_sizes, read_image
from qviz.errors import ImageError
from qviz.structures import EncodedImage

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NOISE = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))


def encode(picture: Pillow.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return read_image(EncodedImage("x", data)).pixels


def plain(colour: tuple[int, ...], mode: str = "RGB", size: tuple[int, int] = (32, 16)) -> Pillow.Image:
    return Pillow.new(mode, size, colour)


def turned(orientation: int) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif


def tiff(values: np.ndarray, kind: int = 1, photometric: int = 1, bits: int = 0, **more: int) -> bytes:
    """An uncompressed little-endian TIFF of (h, w) or (h, w, c) values; kind: 1 unsigned, 2 signed, 3 float."""
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else values.shape[2]
    body = values.astype(values.dtype.newbyteorder("<")).tobytes()
    depth = bits or values.dtype.itemsize * 8
    tags: dict[int, Sequence[int]] = {256: [width], 257: [height], 258: [depth] * samples, 259: [1], 262: [photometric]}
    tags |= {273: [8], 277: [samples], 278: [height], 279: [len(body)], 339: [kind] * samples}
    tags |= {int(tag[1:]): [value] for tag, value in more.items()}
    start = 8 + len(body)
    behind, entries = start + 2 + 12 * len(tags) + 4, b""
    extra = b""
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > 4:
            entries += struct.pack("<HHII", tag, 4, len(numbers), behind + len(extra))
            extra += packed
        else:
            entries += struct.pack("<HHI", tag, 4, 1) + packed
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", start) + body + directory + extra


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_read(kind: str) -> None:
    decoded = pixels(encode(plain(RED, size=(64, 32)), kind)).astype(int)
    assert decoded.shape == (32, 64, 3)
    assert np.abs(decoded - RED).max() < 12


@pytest.mark.parametrize("name", [f"a{suffix}" for suffix in SUFFIXES] + ["A.TIFF", "b.HEIC"])
def test_every_image_extension_is_recognized(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG", "AVIF"])
def test_the_first_of_several_frames_is_read(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(plain(RED), kind, save_all=True, append_images=[plain(GREEN), plain(BLUE)], **options)
    assert np.abs(pixels(data).astype(int) - RED).max() < 4


def test_transparent_pixels_become_white() -> None:
    picture = Pillow.new("P", (4, 4), 1)
    picture.putpalette([*RED, *GREEN])
    picture.putpixel((0, 0), 0)
    decoded = pixels(encode(picture, "GIF", transparency=0))
    assert (decoded[0, 0].tolist(), decoded[1, 1].tolist()) == ([255] * 3, list(GREEN))


SIXTEEN = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
TWELVE = bytes([0x00, 0x07, 0xFF, 0xFF, 0xF0, 0x00])  # 12 bits each: 0, 2047 | 4095, 0
SCALED = [0, 100, 200, 255]

GREYS = [
    ("16 bits", tiff(SIXTEEN), SCALED),
    ("16 bits where 0 is white", tiff(SIXTEEN, photometric=0), [255, 155, 55, 0]),
    ("16 bits, packed", encode(Pillow.fromarray(SIXTEEN), "TIFF", compression="tiff_deflate"), SCALED),
    ("32-bit integers as 16", tiff(SIXTEEN.astype(np.uint32)), SCALED),
    ("32-bit integers as 8", tiff(np.array([[0, 100], [200, 255]], np.int32), kind=2), SCALED),
    ("signed 16 bits: own range", tiff(np.array([[-1000, 0], [500, 1000]], np.int16), kind=2), [0, 128, 191, 255]),
    (
        "32-bit integers: own range",
        tiff(np.array([[0, 400_000], [2_000_000, 0]], np.int32), kind=2),
        [0, 51, 255, 0],
    ),
    ("floats in 0..1", tiff(np.array([[0, 0.2], [0.5, 0.6]], np.float32), kind=3), [0, 51, 128, 153]),
    ("floats in 0..255", tiff(np.array([[0, 100], [200, 250]], np.float32), kind=3), [0, 100, 200, 250]),
    ("floats: own range", tiff(np.array([[-1, 0], [0.5, 1]], np.float32), kind=3), [0, 128, 191, 255]),
    ("floats all alike", tiff(np.full((2, 2), 7000, np.float32), kind=3), [0] * 4),
    ("no number", tiff(np.array([[np.nan, 0.5], [np.inf, -np.inf]], np.float32), kind=3), [128] * 4),
]


@pytest.mark.parametrize(("what", "data", "expected"), GREYS, ids=[row[0] for row in GREYS])
def test_greyscale_of_more_than_8_bits(what: str, data: bytes, expected: list[int]) -> None:
    decoded = pixels(data)
    assert (decoded.dtype, decoded.shape) == (np.uint8, (2, 2, 3))
    assert np.ptp(decoded, axis=-1).max() == 0
    assert decoded[..., 0].ravel().tolist() == expected


def test_twelve_bit_values_span_the_full_range() -> None:
    packed = np.frombuffer(TWELVE, np.uint8).reshape(2, 3)
    data = bytearray(tiff(packed, bits=12, t256=2))
    assert pixels(bytes(data))[..., 0].ravel().tolist() == [0, 127, 255, 0]


def test_sixteen_bits_per_channel_use_the_upper_byte() -> None:
    colours = np.stack([SIXTEEN, SIXTEEN * 0, SIXTEEN[::-1, ::-1]], axis=-1)
    assert pixels(tiff(colours, photometric=2)).reshape(-1, 3).tolist() == [
        [0, 0, 255],
        [100, 0, 200],
        [200, 0, 100],
        [255, 0, 0],
    ]


def test_other_colour_spaces_become_rgb() -> None:
    assert pixels(encode(plain((0, 255, 255, 0), "CMYK"), "TIFF"))[0, 0].tolist() == list(RED)
    lab = np.full((2, 2, 3), (255, 0, 0), np.uint8)  # L* 100, no colour
    assert pixels(tiff(lab, photometric=8)).min() > 250


def test_inverted_adobe_cmyk_jpeg() -> None:
    data = encode(plain((0, 255, 255, 0), "CMYK"), "JPEG", quality=95)
    assert b"Adobe" in data[:100]
    assert np.abs(pixels(data).astype(int) - RED).max() < 12


@pytest.mark.parametrize("kind", ["TIFF", "AVIF"])
def test_orientation_is_applied_once(kind: str) -> None:
    picture = plain(GREEN)
    picture.paste(RED, (0, 0, 16, 16))
    decoded = pixels(encode(picture, kind, exif=turned(6))).astype(int)
    assert decoded.shape == (32, 16, 3)
    assert np.abs(decoded[2, 8] - RED).max() < 12
    assert np.abs(decoded[29, 8] - GREEN).max() < 12


REFUSED = [
    (tiff(np.zeros((2, 2), np.float64), kind=3), "is a TIFF of an unsupported kind"),
    (tiff(np.zeros((2, 2, 3), np.float32), kind=3, photometric=2), "save it with 8 or 16 bits"),
    (tiff(np.zeros((2, 2), np.uint8), t256=60_000, t257=60_000), "megapixels"),
    (tiff(np.zeros((4, 4), np.uint8), t322=60_000, t323=60_000, t324=8, t325=16), "has 60000 x 60000 pixels"),
    (b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",", "cut short near its beginning"),
    (b"BM" + struct.pack("<IHHIIiiHHI", 54, 0, 0, 54, 40, 20_000, 20_000, 1, 24, 0) + bytes(20), "megapixels"),
    (b"<svg/>", "is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or HEIC image: it begins like a text file"),
    (b"\x00\x00\x00\x18ftypmp42" + bytes(16), "is not a JPEG"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_unsupported_files_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(EncodedImage("street", data))
    assert str(caught.value).startswith("street ")
    assert sentence in str(caught.value)


HEIC_HEAD = b"\x00\x00\x00\x1cftypheic\x00\x00\x00\x00mif1heicmiaf"
BRANDS = [
    (HEIC_HEAD, True),
    (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heix", True),
    (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00avifmif1miaf", False),
    (b"\x00\x00\x00\x10ftypmif1\x00\x00\x00\x00heic", False),  # behind the box
    (b"heic", False),
    (b"", False),
]


@pytest.mark.parametrize(("data", "expected"), BRANDS)
def test_heic_is_recognized_by_its_brand(data: bytes, expected: bool) -> None:
    assert images.is_heic(data) is expected


def test_heic_without_its_package_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    images._registered_heic.cache_clear()
    with pytest.raises(ImageError, match=r"^phone.heic is a HEIC image, .*pip install \"qviz-tflite\[heic\]\""):
        read_image(EncodedImage("phone.heic", HEIC_HEAD))
    images._registered_heic.cache_clear()


def test_heic_is_read_if_its_package_is_installed() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    data = encode(plain(RED, size=(64, 32)), "HEIF", quality=90)
    assert np.abs(pixels(data).astype(int) - RED).max() < 12
    with pytest.raises(ImageError, match="cut short"):
        pixels(data[: len(data) // 2])


def test_sizes_are_read_without_decoding() -> None:
    whole = encode(NOISE, "JPEG", exif=turned(6))
    assert image_sizes(EncodedImage("x", whole)) == ((40, 30), (30, 40))
    assert image_sizes(EncodedImage("x", whole[:-400])) == ((40, 30), (30, 40))
    assert image_sizes(EncodedImage("x", encode(plain(RED), "PNG"))) == ((32, 16), (32, 16))


WHOLE = {
    "gif": encode(NOISE, "GIF"),
    "bmp": encode(NOISE.quantize(8), "BMP"),
    "tiff": encode(NOISE, "TIFF", exif=turned(6)),
    "lzw": encode(NOISE, "TIFF", compression="tiff_lzw"),
    "jpeg in tiff": encode(NOISE, "TIFF", compression="jpeg"),
    "float tiff": encode(NOISE.convert("F"), "TIFF"),
    "avif": encode(NOISE, "AVIF", exif=turned(6)),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_damaged_file_is_an_image_or_an_image_error(kind: str) -> None:
    whole, rng = WHOLE[kind], random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 3, 8])):
            damaged[rng.randrange(min(len(damaged), 300))] = rng.choice([0, 255, rng.randrange(256)])
        try:
            with warnings.catch_warnings(action="ignore"):
                assert pixels(bytes(damaged)).ndim == 3
        except ImageError:
            refused += 1
    assert refused > 5


def test_a_truncated_lab_image_is_an_image_error() -> None:
    """The colour transform reads the pixels lazily and raises its own errors."""
    buffer = io.BytesIO()
    Pillow.new("LAB", (64, 64)).save(buffer, "TIFF")
    cut = bytearray(buffer.getvalue())
    del cut[-2000:]
    with pytest.raises(ImageError, match="damaged or cut short"):
        read_image(EncodedImage("lab.tif", bytes(cut)))
