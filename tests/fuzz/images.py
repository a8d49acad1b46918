"""Hostile image files by number. A number always gives the same file, as long as Pillow's encoders do not change.

There are files of each format in many flavours: with changed bytes, cut, spliced, with false sizes, with metadata that
unpacks to megabytes, and with other data after the end.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from tests.fuzz.models import SEED, Draw, flipped, spliced

SIDES = (64, 48)
Change = Callable[[bytes, Draw], bytes]


@lru_cache(maxsize=1)
def _picture() -> Pillow.Image:
    drawn = Pillow.fromarray(np.random.default_rng(SEED).integers(0, 256, (SIDES[1], SIDES[0], 3), np.uint8))
    ImageDraw.Draw(drawn).ellipse((10, 8, 50, 40), fill=(200, 60, 20))
    return drawn


def _encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    _picture().convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def _exif() -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker" * 20
    return exif


def _frames(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [_picture().rotate(turn) for turn in (0, 90, 180)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@lru_cache(maxsize=1)
def flavours() -> dict[str, bytes]:
    """Name of a format and flavour -> a valid file."""
    sixteen = io.BytesIO()
    Pillow.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 21).save(sixteen, "PNG")
    real = io.BytesIO()
    Pillow.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)).save(real, "TIFF")
    lab = io.BytesIO()
    Pillow.frombytes("LAB", SIDES, _picture().tobytes()).save(lab, "TIFF")
    return {
        "jpeg": _encoded("JPEG", exif=_exif()),
        "jpeg progressive": _encoded("JPEG", progressive=True, subsampling=0),
        "jpeg cmyk": _encoded("JPEG", "CMYK"),
        "png": _encoded("PNG"),
        "png palette": _encoded("PNG", "P", transparency=0),
        "png alpha": _encoded("PNG", "RGBA", exif=_exif()),
        "png 16 bit": sixteen.getvalue(),
        "webp": _encoded("WEBP", exif=_exif()),
        "webp lossless": _encoded("WEBP", "RGBA", lossless=True),
        "webp frames": _frames("WEBP"),
        "bmp": _encoded("BMP"),
        "bmp palette": _encoded("BMP", "P"),
        "tiff": _encoded("TIFF", exif=_exif()),
        "tiff lzw": _encoded("TIFF", compression="tiff_lzw"),
        "tiff deflate": _encoded("TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": _encoded("TIFF", compression="jpeg"),
        "tiff lab": lab.getvalue(),
        "tiff real": real.getvalue(),
        "tiff pages": _frames("TIFF"),
        "gif": _encoded("GIF", "P"),
        "gif frames": _frames("GIF"),
        "avif": _encoded("AVIF"),
    }


def cut(data: bytes, draw: Draw) -> bytes:
    return data[: int(draw.integers(1, len(data)))]


def head_flipped(data: bytes, draw: Draw) -> bytes:
    """Change bytes in the header, which holds sizes, tables and tags."""
    damaged = bytearray(data)
    for _ in range(int(draw.integers(1, 6))):
        damaged[int(draw.integers(2, min(200, len(data))))] = int(draw.integers(0, 256))
    return bytes(damaged)


def sizes_that_lie(data: bytes, draw: Draw) -> bytes:
    """Replace numbers that equal the width or height, in 16 or 32 bits of either byte order, with another number."""
    places = [
        (at, form)
        for form in ("<H", ">H", "<I", ">I")
        for side in SIDES
        for at in _positions(data, struct.pack(form, side))
        if at < 400 or at > len(data) - 400
    ]
    if not places:
        return head_flipped(data, draw)
    at, form = places[int(draw.integers(len(places)))]
    highest = 0xFFFF if form[1] == "H" else 0xFFFFFFFF
    odd = (0, 1, 2, 3, 4096, 10_000, 30_000, 60_000, 65_535, 100_000, 1 << 20, 1 << 31, highest)
    value = min(odd[int(draw.integers(len(odd)))], highest)
    return _png_checksums(data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :])


def _positions(data: bytes, piece: bytes) -> list[int]:
    positions, at = [], data.find(piece)
    while at >= 0:
        positions.append(at)
        at = data.find(piece, at + 1)
    return positions


def _png_checksums(data: bytes) -> bytes:
    """Correct the checksum of a PNG's changed header, so that readers use the changed size."""
    if not data.startswith(b"\x89PNG"):
        return data
    return data[:29] + struct.pack(">I", zlib.crc32(data[12:29])) + data[33:]


def swollen_metadata(data: bytes, draw: Draw) -> bytes:
    """Add text, a profile or EXIF data that unpacks to megabytes or refers to itself."""
    size = int(draw.integers(1, 40)) << 20
    if data.startswith(b"\x89PNG"):
        kind, head = ((b"zTXt", b"Comment\0\0"), (b"iCCP", b"icc\0\0"))[int(draw.integers(2))]
        body = kind + head + zlib.compress(bytes(size), 9)
        chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        return data[:33] + chunk + data[33:]
    if data.startswith(b"\xff\xd8"):
        loop = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop + data[2:]
    return data + bytes(size)


def behind_the_ending(data: bytes, draw: Draw) -> bytes:
    """Append or prepend another file."""
    others = list(flavours().values())
    other = others[int(draw.integers(len(others)))]
    return data + other if draw.random() < 0.5 else other[: int(draw.integers(2, 60))] + data


def no_image(data: bytes, draw: Draw) -> bytes:
    texts = (
        b"<svg xmlns='x' width='1e9' height='1e9'/>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"%!PS-Adobe",
        b"P6 9 9 255 ",
        b"",
    )
    return texts[int(draw.integers(len(texts)))] + bytes(draw.integers(0, 256, int(draw.integers(0, 300)), np.uint8))


KINDS: dict[str, Change] = {
    "flipped": flipped,
    "head_flipped": head_flipped,
    "cut": cut,
    "spliced": spliced,
    "sizes_that_lie": sizes_that_lie,
    "swollen_metadata": swollen_metadata,
    "behind_the_ending": behind_the_ending,
    "no_image": no_image,
}


@dataclass(frozen=True, slots=True)
class HostileImage:
    """One hostile image, and the number, base and kind from which it can be made again."""

    number: int
    base: str
    kind: str
    data: bytes = field(repr=False)

    @property
    def name(self) -> str:
        return f"hostile-{self.number}.img"


def hostile_image(number: int, seed: int = SEED) -> HostileImage:
    """The file with this number. Numbers go through all kinds, and for each kind through all flavours."""
    kind = list(KINDS)[number % len(KINDS)]
    base = list(flavours())[number // len(KINDS) % len(flavours())]
    draw = np.random.default_rng([seed, 1, number])
    return HostileImage(number, base, kind, KINDS[kind](flavours()[base], draw))
