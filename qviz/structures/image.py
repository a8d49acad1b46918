"""Encoded and decoded images, and the digests that identify files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


def digest_of(data: bytes) -> str:
    """sha256 of these bytes in hexadecimal. Caches identify files by their digest."""
    return hashlib.sha256(data).hexdigest()


def digest_of_json(value: Any) -> str:
    """sha256, in hexadecimal, of a value's JSON with sorted keys."""
    return digest_of(json.dumps(value, sort_keys=True).encode())


@dataclass(frozen=True, slots=True)
class AppliedCorruption:
    """A corruption that is applied to an image before inference, see `qviz.corruptions`.

    amount: severity 1..5 of a named corruption; or the exposure in stops, the gamma exponent, or the colour temperature
    in kelvin.
    """

    name: str
    amount: float

    def __str__(self) -> str:
        return f"{self.name} {self.amount:g}"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The bytes of an image file, which are not decoded yet and not trusted.

    Attributes:
        digest: Identifies the image; includes size and corruption, so that caches distinguish them.
        size: (width, height) to which its boxes refer, or None. If only the stored pixels have this size, and not the
            image after EXIF orientation is applied, the orientation is not applied.
        corruption: The corruption that is applied to the decoded pixels, or None.
    """

    name: str
    data: bytes = field(repr=False)
    digest: str = ""
    size: tuple[int, int] | None = None
    corruption: AppliedCorruption | None = None

    def __post_init__(self) -> None:
        if not self.digest:
            suffix = f"{SIZE_MARK}{self.size[0]}x{self.size[1]}" if self.size else ""
            object.__setattr__(self, "digest", digest_of(self.data) + suffix + _suffix(self.corruption))

    @property
    def file_digest(self) -> str:
        """Identifies the file alone: the same with and without a size or corruption."""
        return file_digest(self.digest)

    @property
    def plain(self) -> EncodedImage:
        """The image without its corruption."""
        return self.under(None)

    def under(self, corruption: AppliedCorruption | None) -> EncodedImage:
        """The same image with another corruption; its bytes are not hashed again."""
        if corruption == self.corruption:
            return self
        digest = self.digest.split(CORRUPTION_MARK)[0] + _suffix(corruption)
        return replace(self, digest=digest, corruption=corruption)


CORRUPTION_MARK = "~"
"""Separates, in a digest, the part for the image from the part for its corruption."""
SIZE_MARK = "@"
"""Separates, in a digest, the part for the file from the part for its size."""


def file_digest(digest: str) -> str:
    """The part of an image's digest that identifies its file.

    An annotated image has a size and the same file among calibration images has none, so that their digests differ.

    Example:
        >>> file_digest("5f2b@640x480~fog 3")
        '5f2b'
    """
    return digest.split(CORRUPTION_MARK)[0].split(SIZE_MARK)[0]


def _suffix(corruption: AppliedCorruption | None) -> str:
    return f"{CORRUPTION_MARK}{corruption}" if corruption is not None else ""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A decoded image. pixels: (h, w, 3) uint8 RGB; digest: the digest of the `EncodedImage`."""

    name: str
    pixels: np.ndarray
    digest: str

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height
