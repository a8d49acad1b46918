"""An image, encoded as the user gave it and decoded."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np


def digest_of(data: bytes) -> str:
    """sha256 in hexadecimal: the identity of a file in every cache."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """A file that claims to be an image: not decoded yet, and not trusted.

    size: (width, height) that its boxes refer to, where annotations say so; it decides whether EXIF orientation is
    applied, and so it is part of the digest.
    """

    name: str
    data: bytes = field(repr=False)
    digest: str = ""
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.digest:
            suffix = f"@{self.size[0]}x{self.size[1]}" if self.size else ""
            object.__setattr__(self, "digest", digest_of(self.data) + suffix)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A decoded image: pixels (h, w, 3) uint8 RGB; digest is that of the encoded file."""

    name: str
    pixels: np.ndarray
    digest: str

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])
