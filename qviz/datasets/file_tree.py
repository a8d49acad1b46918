"""The files of a dataset in a folder or a zip archive, by their path relative to its top, e.g. `images/a.jpg`.

Nothing outside is ever read: absolute paths and paths with `..` are treated as missing. Links in a folder are followed,
but each folder is visited only once; links in an archive are ignored, as are dot files and macOS's `__MACOSX` entries.
An archive is read entry by entry in memory, within limits that are checked before anything is unpacked.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from qviz.datasets.files import DAMAGED
from qviz.errors import DatasetError, reason
from qviz.limits import limits
from qviz.structures.archive import open_zip

MAX_FILES = 1_000_000
MAX_DEPTH = 30
MAX_RATIO, SMALL = 100, 64 << 20
"""An archive is refused if it unpacks to more than SMALL bytes and to more than MAX_RATIO times its own size: images
hardly compress, and text by a factor of about ten."""


class FileTree(Protocol):
    """A folder or an archive. Paths are POSIX paths relative to its top; the top itself is ""."""

    @property
    def name(self) -> str: ...

    def below(self, folder: str) -> list[str]:
        """The paths of all files below a folder, sorted; empty if the folder does not exist."""

    def has(self, path: str) -> bool: ...

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file. Raises DatasetError if it has more than `limit` bytes or cannot be read."""

    def source(self, path: str) -> Path | bytes:
        """The `source` of a `DatasetImage`: the path of the image on this machine, or its bytes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine."""

    top: Path

    @property
    def name(self) -> str:
        return self.top.resolve().name or str(self.top)

    def below(self, folder: str) -> list[str]:
        if not is_inside(folder):
            return []
        paths: list[str] = []
        for path in _walk(self.top / folder):
            paths.append(path.relative_to(self.top).as_posix())
            if len(paths) > MAX_FILES:
                raise DatasetError(f"{self.name} has more than {MAX_FILES} files; give the dataset's own folder.")
        return sorted(paths)

    def has(self, path: str) -> bool:
        try:
            return is_inside(path) and (self.top / path).is_file()
        except (OSError, ValueError):  # the name is too long for the file system, or contains a zero byte
            return False

    def read(self, path: str, limit: int) -> bytes:
        try:
            with (self.top / path).open("rb") as stream:
                data = stream.read(limit + 1)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read ({error.strerror}).") from error
        return _limited(path, data, limit)

    def source(self, path: str) -> Path | bytes:
        return self.top / path


def _walk(top: Path) -> Iterator[Path]:
    visited: set[str] = set()
    for parent, folders, files in os.walk(top, followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()  # a link to a folder that has been visited
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not _is_hidden(name)]
        yield from (Path(parent, name) for name in files if not _is_hidden(name))


class Archive:
    """A zip archive in memory or in a file; the caller has to close it."""

    def __init__(self, name: str, source: bytes | Path) -> None:
        self._name = name
        try:
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            self._zip = open_zip(source) if isinstance(source, bytes) else zipfile.ZipFile(source)
        except DAMAGED as error:
            raise _damaged(name, error) from error
        usable = ((_path_of(entry), entry) for entry in self._zip.infolist())
        self._entries = {path: entry for path, entry in usable if path is not None}
        _check_bounds(name, size, list(self._entries.values()))
        self._folders: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self._entries):
            for parent in PurePosixPath(path).parents:
                self._folders["" if str(parent) == "." else str(parent)].append(path)

    @property
    def name(self) -> str:
        return self._name

    def below(self, folder: str) -> list[str]:
        return list(self._folders.get(folder, ()))

    def has(self, path: str) -> bool:
        return path in self._entries

    def read(self, path: str, limit: int) -> bytes:
        entry = self._entries[path]
        if entry.file_size > limit:
            raise _too_large(path, limit)
        try:
            with self._zip.open(entry) as stream:  # returns at most the size that was checked
                return _limited(path, stream.read(limit + 1), limit)
        except DAMAGED as error:
            raise _damaged(self.name, error) from error

    def source(self, path: str) -> Path | bytes:
        return self.read(path, limits().image_mb << 20)

    def close(self) -> None:
        self._zip.close()


def is_inside(path: str) -> bool:
    """Whether a path cannot leave the folder or archive to which it is relative."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def _path_of(entry: zipfile.ZipInfo) -> str | None:
    """The path of an archive's entry; None for folders, links, hidden files, and paths that lead outside."""
    path = entry.filename.replace("\\", "/")  # some archives made on Windows use backslashes
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if path.endswith("/") or kind not in (0, stat.S_IFREG) or not is_inside(path) or path[1:2] == ":":
        return None
    parts = PurePosixPath(path).parts
    return "/".join(parts) if 0 < len(parts) <= MAX_DEPTH and not any(map(_is_hidden, parts)) else None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_bounds(name: str, size: int, entries: list[zipfile.ZipInfo]) -> None:
    total, bounds = sum(entry.file_size for entry in entries), limits()
    if len(entries) > bounds.archive_files or total > bounds.archive_mb << 20:
        raise DatasetError(
            f"{name} would unpack to {len(entries)} files and {total >> 20} MB; the limit is"
            f" {bounds.archive_files} files and {bounds.archive_mb} MB. Unpack it and give the folder."
        )
    if total > max(SMALL, MAX_RATIO * size):
        raise DatasetError(
            f"{name} would unpack to {total // max(size, 1)} times its size, which no real dataset does; zip it again."
        )


def _limited(path: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise _too_large(path, limit)
    return data


def _too_large(path: str, limit: int) -> DatasetError:
    return DatasetError(f"{path} is larger than {limit >> 20} MB, the limit for such files.")


def _damaged(name: str, error: BaseException) -> DatasetError:
    return DatasetError(f"{name} is a damaged or password-protected zip archive{reason(error)}; zip it again.")
