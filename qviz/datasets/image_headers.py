"""The size of an image from its first bytes, without decoding it."""

from __future__ import annotations

from pathlib import Path

from qviz.datasets.images import image_sizes
from qviz.errors import ImageError
from qviz.limits import limits
from qviz.structures import EncodedImage

HEAD = 256 << 10
"""Bytes in which most headers end; a WebP or a TIFF may need the whole file."""


def upright_size(name: str, source: Path | bytes) -> tuple[int, int]:
    """(width, height) as EXIF turns it. Raises ImageError."""
    if isinstance(source, bytes):
        return _size(name, source)
    try:
        with source.open("rb") as stream:
            head = stream.read(HEAD)
            if len(head) == HEAD:
                try:
                    return _size(name, head)
                except ImageError:
                    head += stream.read(limits().image_mb << 20)
            return _size(name, head)
    except OSError as error:
        raise ImageError(f"{name} cannot be read ({error.strerror}).") from error


def _size(name: str, data: bytes) -> tuple[int, int]:
    return image_sizes(EncodedImage(name, data, digest="not needed"))[1]
