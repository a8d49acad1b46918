"""Open untrusted zip archives."""

from __future__ import annotations

import io
import zipfile

from qviz.limits import limits

_ENTRY = b"PK\x01\x02"
"""The signature with which each entry in the directory of a zip archive begins."""
SPARE = 1000
"""Archives with up to this many entries above the limit are still opened, so that an error can state their number."""


def open_zip(data: bytes) -> zipfile.ZipFile:
    """Open a zip archive. Raises zipfile.BadZipFile if it is damaged or lists too many files.

    The entries are counted first, because zipfile creates an object of some 600 bytes for each of them when it opens an
    archive: 400 MB that contain nothing but a directory would take 5 GB of memory.
    """
    max_files = limits().archive_files + SPARE
    if data.count(_ENTRY) > max_files:
        raise zipfile.BadZipFile(f"it lists more than {max_files:,} files")
    return zipfile.ZipFile(io.BytesIO(data))
