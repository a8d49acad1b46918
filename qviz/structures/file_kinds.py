"""Describe a file that is not of the expected kind, and the most likely next step, for error messages."""

from __future__ import annotations

SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "it is a Git LFS pointer of a few lines, not the file itself. Run git lfs pull."),
    (b"\x89PNG", "it is a PNG image."),
    (b"\xff\xd8\xff", "it is a JPEG image."),
    (b"GIF8", "it is a GIF image."),
    (b"PK\x03\x04", "it is a zip archive. Unpack it, and give the file in it."),
    (b"\x1f\x8b", "it is compressed with gzip. Unpack it, and give the file in it."),
    (b"\x89HDF", "it is an HDF5 file."),
    (b"%PDF", "it is a PDF document."),
    (b"\x80\x02", "it is a Python pickle, which is never opened. Export the model."),
)
"""(first bytes of a file, the end of a sentence that says what the file is)."""
PAGES = (b"<!doctype html", b"<html")


def described(data: bytes) -> str:
    """What kind of file this is according to its first bytes, as the end of a sentence with a full stop.

    If the kind is not known, the sentence gives the first bytes in hexadecimal.

    Example:
        >>> described(b"<html><body>Not found")
        'it is a web page, perhaps the message of a failed download. Download it again.'
    """
    if not data:
        return "it is empty (0 bytes). Copy or export it again."
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(PAGES):
        return "it is a web page, perhaps the message of a failed download. Download it again."
    if start[:1] in (b"{", b"["):
        return "it looks like JSON."
    if start[:1] == b"<":
        return "it begins like a text file."
    by_signature = next((text for signature, text in SIGNATURES if data.startswith(signature)), None)
    return by_signature or f"it begins with the bytes {data[:8].hex(' ')}."
