"""Recognise SavedModels and Keras files, pack a SavedModel as bytes, and unpack it again.

A SavedModel is recognised by `saved_model.pb`, in the folder itself or up to two levels down (`exported/saved_model/`).
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from enum import StrEnum
from pathlib import Path, PurePosixPath

from qviz.errors import ModelError, reason
from qviz.limits import limits
from qviz.structures.archive import open_zip

PROTO = "saved_model.pb"
PARTS = ("variables", "assets")
"""The folders of a SavedModel that loading needs; the rest (debug info, a random fingerprint) is not packed."""
MAX_DEPTH = 3
MAX_FILES = 1000
MAX_RATIO, ALWAYS_UNPACKED = 100, 64 << 20
"""An archive that unpacks to more than 64 MB and 100 times its size is refused: weights hardly compress."""
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError, ValueError)
"""Errors that zipfile and its decompressors raise; RuntimeError is for archives with a password."""


class SourceKind(StrEnum):
    """Kinds of model files; each value is the name shown to users."""

    TFLITE = ".tflite file"
    SAVED_MODEL = "SavedModel"
    KERAS = ".keras file"
    H5 = ".h5 file"


_ENDINGS = {".keras": SourceKind.KERAS, ".h5": SourceKind.H5, ".hdf5": SourceKind.H5}


def kind_of(path: Path) -> SourceKind | None:
    """The kind of a file or folder that can be converted; None for all others, also for .tflite files."""
    if path.is_dir():
        return SourceKind.SAVED_MODEL if _candidates(_files(path)) else None
    if path.suffix.lower() == ".zip":
        return SourceKind.SAVED_MODEL if _lists_saved_model(path) else None
    return _ENDINGS.get(path.suffix.lower())


def kind_of_bytes(name: str, data: bytes) -> SourceKind | None:
    """The kind of an uploaded file, as `kind_of` returns it for a path."""
    ending = PurePosixPath(name).suffix.lower()
    return SourceKind.SAVED_MODEL if ending == ".zip" and holds_saved_model(data) else _ENDINGS.get(ending)


def holds_saved_model(data: bytes) -> bool:
    """Whether the bytes are a zip archive of a SavedModel."""
    return data[:4] == b"PK\x03\x04" and _lists_saved_model(data)


def _lists_saved_model(archive: Path | bytes) -> bool:
    try:
        with open_zip(archive) if isinstance(archive, bytes) else zipfile.ZipFile(archive) as opened:
            return bool(_candidates(opened.namelist()))
    except DAMAGED:
        return False


def read_packed(path: Path) -> bytes:
    """The bytes of a file, or of a folder packed as an archive. Raises ModelError if it has too many files or bytes."""
    if path.is_dir():
        return _pack(path / saved_model_in(_files(path)))
    _check_size(1, path.stat().st_size)
    return path.read_bytes()


def _files(folder: Path) -> list[str]:
    """Paths of the `saved_model.pb` files at most two levels below a folder; the depth is limited to save time."""
    patterns = ("/".join(["*"] * depth + [PROTO]) for depth in range(MAX_DEPTH))
    return [path.relative_to(folder).as_posix() for pattern in patterns for path in sorted(folder.glob(pattern))]


def _candidates(names: list[str]) -> list[PurePosixPath]:
    paths = (PurePosixPath(name) for name in names)
    return [p.parent for p in paths if p.name == PROTO and len(p.parts) <= MAX_DEPTH and "__MACOSX" not in p.parts]


def saved_model_in(names: list[str]) -> PurePosixPath:
    """The folder of the only SavedModel among these files. Raises ModelError if there is none, or more than one."""
    folders = _candidates(names)
    top = [folder for folder in folders if len(folder.parts) == min(len(other.parts) for other in folders)]
    if not top:
        raise ModelError(f"has no {PROTO}; give a SavedModel's folder, or a zip archive of it.")
    if len(top) > 1:
        shown = ", ".join(str(folder) for folder in top[:5])
        raise ModelError(f"has {len(top)} SavedModels ({shown}); give the folder of one.")
    return top[0]


def _pack(folder: Path) -> bytes:
    """A SavedModel as a zip archive that is always the same: files sorted, uncompressed, without times or owners."""
    inside = [folder / PROTO, *(file for part in PARTS for file in sorted((folder / part).rglob("*")))]
    files = [file for file in inside if file.is_file()]
    _check_size(len(files), sum(file.stat().st_size for file in files))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix()), file.read_bytes())
    return buffer.getvalue()


def unpack(data: bytes, folder: Path) -> Path:
    """Unpack an archive into an empty folder and return the SavedModel's folder in it. Raises ModelError."""
    extract(data, folder)
    return folder / saved_model_in(_files(folder))


def extract(data: bytes, folder: Path) -> None:
    """Unpack an archive into an empty folder. Raises ModelError if it is damaged or unsafe."""
    try:
        with open_zip(data) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_size(len(entries), sum(entry.file_size for entry in entries), len(data))
            for entry in entries:
                _check_entry(entry)
                archive.extract(entry, folder)
    except DAMAGED as error:
        raise ModelError(f"is a damaged or password-protected zip archive{reason(error)}; zip it again.") from error


def _check_size(files: int, total: int, packed: int | None = None) -> None:
    max_mb = limits().archive_mb
    bomb = packed is not None and total > max(ALWAYS_UNPACKED, MAX_RATIO * packed)
    if files > MAX_FILES or total > max_mb << 20 or bomb:
        raise ModelError(
            f"would unpack to {files} files and {total >> 20} MB; models of up to {MAX_FILES} files,"
            f" {max_mb} MB and {MAX_RATIO} times the archive's size are read."
        )


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Raise ModelError unless the entry is a plain file that is unpacked below the target folder."""
    path, mode = PurePosixPath(entry.filename), entry.external_attr >> 16
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
        raise ModelError(f"is an archive with the path {entry.filename!r}, which is outside of it; pack it again.")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ModelError(f"is an archive with {entry.filename!r}, which is a link or device; pack plain files.")
