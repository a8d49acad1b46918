"""HEIC photographs (HEVC inside a HEIF container): read where the package pillow-heif is installed.

Source: ISO/IEC 23008-12; the `ftyp` box at the beginning lists a file's brands, 4 bytes each.
"""

from __future__ import annotations

import functools

from qviz.errors import ImageError

FORMAT = "HEIF"
"""As pillow-heif registers it with Pillow."""
BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})


def is_heic(data: bytes) -> bool:
    """By the brands: `mif1` alone may as well be AVIF."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 256)
    return bool(BRANDS & {data[8:12], *(data[at : at + 4] for at in range(16, end, 4))})


def check_heic(name: str) -> None:
    """Let Pillow read HEIC. Raises ImageError where the package is not installed."""
    if not _registered():
        raise ImageError(
            f"{name} is a HEIC image, and reading it needs a package: `pip install pillow-heif`, or save it as JPEG."
        )


@functools.cache
def _registered() -> bool:
    try:
        import pillow_heif  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
