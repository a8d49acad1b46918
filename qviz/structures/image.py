"""An image, encoded and decoded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


def digest_of(data: bytes) -> str:
    """sha256 in hexadecimal, which identifies a file in every cache."""
    return hashlib.sha256(data).hexdigest()


def digest_of_json(value: Any) -> str:
    """sha256 in hexadecimal of a value as `json.dumps` writes it."""
    return digest_of(json.dumps(value, sort_keys=True).encode())


@dataclass(frozen=True, slots=True)
class AppliedCorruption:
    """A corruption applied to an image before inference, see `qviz.corruptions`.

    amount: severity 1..5 of a named corruption; stops of exposure, exponent of gamma, or kelvin of temperature.
    """

    name: str
    amount: float

    def __str__(self) -> str:
        return f"{self.name} {self.amount:g}"


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The bytes of an image file, not decoded yet and not trusted.

    Attributes:
        digest: Includes size and corruption, so that results of one are never taken for those of another.
        size: (width, height) that its boxes refer to, or None; it decides whether EXIF orientation is applied.
        corruption: Applied to the decoded pixels.
    """

    name: str
    data: bytes = field(repr=False)
    digest: str = ""
    size: tuple[int, int] | None = None
    corruption: AppliedCorruption | None = None

    def __post_init__(self) -> None:
        if not self.digest:
            suffix = f"@{self.size[0]}x{self.size[1]}" if self.size else ""
            object.__setattr__(self, "digest", digest_of(self.data) + suffix + _suffix(self.corruption))

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
"""Separates an image's digest from its corruption."""


def _suffix(corruption: AppliedCorruption | None) -> str:
    return f"{CORRUPTION_MARK}{corruption}" if corruption is not None else ""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A decoded image. pixels: (h, w, 3) uint8 RGB; digest: that of the encoded file."""

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
