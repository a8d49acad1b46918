"""Projects of the dashboard on disk, so that they survive a reload of the page and a restart of the server.

    FOLDER/ID/project.json   the document of the project; always replaced as a whole
    FOLDER/ID/blobs/SHA256   the bytes to which the document refers

New blobs are written before the document that refers to them, and unused blobs are deleted after it is written. A
process that is killed at any moment therefore leaves the last complete state. An ID has 128 random bits: anyone who
knows the ID may open the project, but nobody can guess it. A save that would exceed the quota is refused, and the
project stays as it was.

Several pages may have the same project open, also pages of several servers with the same folder. Each page knows the
revision that it read, and cannot overwrite a newer revision. Only one server at a time saves a project.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import shutil
import sqlite3
import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from qviz.errors import ProjectChanged, ProjectError
from qviz.limits import limits
from qviz.structures import digest_of
from qviz.structures.archive import open_zip
from qviz.structures.json_document import NotJson, parse_json

DOCUMENT, BLOBS = "project.json", "blobs"
_ID, _DIGEST = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")
MAX_DOCUMENT = 64 << 20
"""Maximum size of a document in bytes; for 5,000 annotated images it has about 10 MB."""
BLOCK = 4096
"""Minimum number of bytes that a file counts against the quota, because many small files also fill a disk."""
MAX_SYNCS = 16
"""Up to this many files are synced to disk one by one. More are synced together, which saves seconds for thousands."""
_LOCKS = tuple(threading.Lock() for _ in range(64))
"""Locks that keep two threads of this process from saving the same project at once. The ID chooses the lock."""

LOCK, LOCK_SECONDS = "lock", 30.0
"""Name of an empty file in a project's folder that a server locks while it saves the project, and the maximum time that
another server waits for it."""

Revision = tuple[int, int, int] | None
"""Identifies a state of a project's document on disk; None if there is no document."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, RuntimeError, EOFError)


class Projects:
    """The projects in one folder.

    Example:
        >>> projects = Projects(tmp_path)
        >>> number = projects.new_id()
        >>> projects.save(number, {"name": "dusk"}, {})
        >>> projects.load(number)
        {'name': 'dusk'}
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: dict[str, tuple[int, int]] = {}

    def new_id(self) -> str:
        """A random ID for a new project."""
        return secrets.token_hex(16)

    def revision(self, project: str) -> Revision:
        """The revision on disk, or None if there is no such project. Raises ProjectError if it is not a valid ID."""
        try:
            state = (self._path(project) / DOCUMENT).stat()
        except OSError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size

    def save(
        self, project: str, document: Mapping[str, Any], blobs: Mapping[str, bytes], revision: Revision = None
    ) -> Revision:
        """Replace the contents of a project. Returns its new revision.

        Args:
            document: A JSON object.
            blobs: sha256 -> bytes to which the document refers; those already on disk are not written again.
            revision: The revision on which the document is based; None to overwrite any revision.

        Raises:
            ProjectChanged: Another page has saved the project since that revision.
            ProjectError: A quota is exceeded, or the folder cannot be written; the project stays as it was.
        """
        folder, text = self._path(project), json.dumps(document, allow_nan=False).encode()
        if len(text) > MAX_DOCUMENT:
            raise ProjectError(
                f"The project is not saved: its annotations and names take {len(text) >> 20} MB, and the limit is"
                f" {MAX_DOCUMENT >> 20} MB. Remove images, or drop annotations for fewer."
            )
        with _LOCKS[int(project, 16) % len(_LOCKS)]:
            self._check_quota(folder, blobs, len(text))
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                with _alone(folder):
                    if revision is not None and self.revision(project) != revision:
                        raise ProjectChanged("The project was changed on another page.")
                    self._write(folder, text, blobs)
                    return self.revision(project)
            except (OSError, sqlite3.Error) as error:
                reason = getattr(error, "strerror", "") or str(error)
                raise ProjectError(
                    f"The project cannot be saved ({reason}). What is on disk stays as it was, and this page"
                    " continues without saving. Free some space, or ask the administrator."
                ) from error

    def _write(self, folder: Path, text: bytes, blobs: Mapping[str, bytes]) -> None:
        (folder / BLOBS).mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        new = [digest for digest in blobs if not (folder / BLOBS / digest).is_file()]
        is_many = len(new) > MAX_SYNCS and hasattr(os, "sync")
        for digest in new:
            _replace(folder / BLOBS / digest, blobs[digest], sync=not is_many)
        if is_many:
            os.sync()
        _replace(folder / DOCUMENT, text)
        for path in (*folder.glob(f".{DOCUMENT}.*"), *(folder / BLOBS).iterdir()):
            if path.name not in blobs:
                path.unlink(missing_ok=True)

    def load(self, project: str) -> dict[str, Any]:
        """The document of a project. Raises ProjectError if there is none, or if it is damaged."""
        path = self._path(project) / DOCUMENT
        try:
            if path.stat().st_size > MAX_DOCUMENT:
                raise ProjectError("The project's document is larger than any that qviz writes.")
            document = parse_json(path.read_bytes())
        except FileNotFoundError:
            raise ProjectError("The project at this address is not on this server.") from None
        except (OSError, NotJson) as error:
            raise ProjectError(f"The project at this address is damaged: {error}.") from error
        if not isinstance(document, dict):
            raise ProjectError("The project at this address is damaged: its document is not an object.")
        return document

    def blob(self, project: str, digest: str) -> bytes:
        """The bytes with this sha256. Raises ProjectError if they are missing or damaged."""
        if not _DIGEST.fullmatch(digest):
            raise ProjectError(f"{digest[:80]!r} is not a sha256.")
        try:
            data = (self._path(project) / BLOBS / digest).read_bytes()
        except OSError as error:
            raise ProjectError(f"A file of the project is missing ({error.strerror}).") from error
        if digest_of(data) != digest:
            raise ProjectError("A file of the project is damaged.")
        return data

    def delete(self, project: str) -> None:
        """Delete a project with all its files. Raises ProjectError."""
        try:
            shutil.rmtree(self._path(project))
        except FileNotFoundError:
            return
        except OSError as error:
            raise ProjectError(f"The project cannot be deleted ({error.strerror}).") from error

    def size(self, project: str) -> int:
        """Size of a project on disk, in bytes."""
        return self._size(self._path(project))

    def exported(self, project: str) -> bytes:
        """A project as a zip archive that `imported` can read. Raises ProjectError."""
        if (size := self.size(project)) > limits().upload_mb << 20:
            raise ProjectError(
                f"The project is {size >> 20} MB; a single file can only be dropped again if it is at most"
                f" {limits().upload_mb} MB."
            )
        document = self.load(project)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(DOCUMENT, json.dumps(document))
            for path in sorted((self._path(project) / BLOBS).iterdir()):
                if _DIGEST.fullmatch(path.name):
                    archive.write(path, f"{BLOBS}/{path.name}")
        return buffer.getvalue()

    def imported(self, data: bytes) -> str:
        """Create a new project from an archive of `exported`, and return its ID.

        File names in the archive are never used as paths. Raises ProjectError if it is not such an archive, is damaged,
        or exceeds a limit.
        """
        max_mb = min(limits().project_mb, limits().upload_mb)
        try:
            with open_zip(data) as archive:
                if (total := sum(entry.file_size for entry in archive.infolist())) > max_mb << 20:
                    raise ProjectError(
                        f"The archive would unpack to {total >> 20} MB; the limit for a project is {max_mb} MB."
                    )
                document = parse_json(_member(archive, DOCUMENT, MAX_DOCUMENT))
                names = {entry.filename.removeprefix(f"{BLOBS}/") for entry in archive.infolist()} - {DOCUMENT}
                blobs = {name: _member(archive, f"{BLOBS}/{name}", max_mb << 20) for name in sorted(names)}
        except (*_DAMAGED, NotJson) as error:
            raise ProjectError(f"The archive is not a project of qviz, or is damaged ({str(error)[:80]}).") from error
        if not isinstance(document, dict) or any(digest_of(blob) != name for name, blob in blobs.items()):
            raise ProjectError("The archive is damaged: its files are not those that its document names.")
        project = self.new_id()
        self.save(project, document, blobs)
        return project

    def _path(self, project: str) -> Path:
        """The folder of a project. Raises ProjectError if the ID is not valid, e.g. if it is a path."""
        if not _ID.fullmatch(project):
            raise ProjectError("The address does not name a project: an ID has 32 hexadecimal digits.")
        return self._folder / project

    def _check_quota(self, folder: Path, blobs: Mapping[str, bytes], document: int) -> None:
        bounds = limits()
        size = document + sum(map(len, blobs.values()))
        if size > bounds.project_mb << 20:
            raise ProjectError(
                f"The project is not saved: it would be {size >> 20} MB, and the limit is {bounds.project_mb} MB. A"
                " reload brings back what was saved last. Remove images or models."
            )
        before = self._size(folder)
        total = sum(self._size(path) for path in _subfolders(self._folder)) - before + size
        if size > before and total > bounds.projects_mb << 20:
            raise ProjectError(
                f"The projects on this server have reached {bounds.projects_mb} MB: this one is not saved. A reload"
                " brings back what was saved last. Delete projects, or ask the administrator."
            )

    def _size(self, folder: Path) -> int:
        """Total bytes of the files in a project's folder, counted again only if files were added or removed."""
        try:
            changed = max((folder / part).stat().st_mtime_ns for part in (DOCUMENT, BLOBS))
            if self._sizes.get(folder.name, (0, 0))[0] != changed:
                files = (folder / DOCUMENT, *(folder / BLOBS).iterdir())
                self._sizes[folder.name] = changed, sum(max(BLOCK, path.stat().st_size) for path in files)
        except OSError:  # there is no project, or it is being deleted
            self._sizes.pop(folder.name, None)
            return 0
        return self._sizes[folder.name][1]


def is_project(data: bytes) -> bool:
    """Whether a zip archive is a project written by `Projects.exported`."""
    try:
        with open_zip(data) as archive:
            names = archive.namelist()
    except _DAMAGED:
        return False
    return DOCUMENT in names and all(name == DOCUMENT or name.startswith(f"{BLOBS}/") for name in names)


def _member(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """The bytes of one file in an archive. Raises ValueError if there are more than `max_bytes`.

    Only one byte more than that is ever unpacked, whatever size the header states.
    """
    with archive.open(name) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{name} is too large")
    return data


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other server saves this project. SQLite's lock ends with its process, on every system."""
    with contextlib.closing(sqlite3.connect(folder / LOCK, timeout=LOCK_SECONDS, isolation_level=None)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        yield


def _replace(path: Path, data: bytes, sync: bool = True) -> None:
    """Replace a file atomically: a reader sees either the old or the new bytes.

    sync: whether this also holds after a power failure.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _subfolders(folder: Path) -> list[Path]:
    """The folders of all projects; empty if the folder that contains them does not exist yet."""
    return [path for path in folder.iterdir() if _ID.fullmatch(path.name)] if folder.is_dir() else []
