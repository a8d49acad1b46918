"""Zip archives from outside."""

from __future__ import annotations

import io
import zipfile

from qviz.limits import limits

_ENTRY = b"PK\x01\x02"
"""What each entry of a zip archive's directory begins with."""
SPARE = 1000
"""Entries above the limit that are still listed: those who read the archive count them and name the number."""


def open_zip(data: bytes) -> zipfile.ZipFile:
    """An archive, opened. Raises zipfile.BadZipFile where it is damaged or lists too many files.

    Python makes an object of some 600 bytes per entry before it can be asked how many there are: 400 MB that hold
    nothing but a directory would take 5 GB of memory.
    """
    max_files = limits().archive_files + SPARE
    if data.count(_ENTRY) > max_files:
        raise zipfile.BadZipFile(f"it lists more than {max_files:,} files")
    return zipfile.ZipFile(io.BytesIO(data))
