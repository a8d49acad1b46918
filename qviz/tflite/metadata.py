"""What exporters append to a .tflite file: a zip archive with label files.

Source: TensorFlow Lite metadata ("associated files", packed as a zip behind the flatbuffer).
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib

MAX_FILE = 1 << 20
"""A label file of more than a mebibyte is none."""


def associated_files(data: bytes) -> dict[str, bytes]:
    """name -> content of the files in the appended zip; empty where there is none or it is damaged."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            small = [entry for entry in archive.infolist() if entry.file_size <= MAX_FILE][:20]
            return {entry.filename: archive.read(entry) for entry in small}
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError):
        return {}  # a damaged appendix takes nothing from the model itself


def label_file(data: bytes) -> bytes | None:
    """The label file among them: the .txt with most lines."""
    texts = [content for name, content in associated_files(data).items() if name.endswith(".txt")]
    return max(texts, key=lambda content: content.count(b"\n"), default=None)
