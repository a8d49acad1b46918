"""A thread-safe store of bytes by key, in SQLite; see `qviz.store`.

`used` is the time of the last use in seconds since 1970; `crc` is zlib's crc32 over the key and the value.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from qviz.limits import limits

T = TypeVar("T")

FILE = "detections.sqlite"
TICK = 1e-3
"""If the clock was set back, the time of a new value is this many seconds after the latest time in the file."""
SHARE_LEFT = 0.9
"""When the file exceeds its limit, old values are deleted down to this share of the limit, so that not every write has
to delete some."""
BATCH = 32
WRITE_SECONDS = 0.5
"""Values are written when there are `BATCH` of them, or `WRITE_SECONDS` after the last write."""
MAX_USES = 512
"""Maximum number of uses of values that are recorded at once."""
BUSY_SECONDS = 10.0
KEYS_PER_QUERY = 500
"""Number of keys per query; SQLite allows at least 999 variables in a statement."""
VERSION = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, used REAL NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON kept (used);
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Store:
    """A store in one file.

    Args:
        limit: Maximum size of the file in bytes; by default the limit in `qviz.limits`.

    Attributes:
        remarks: Sentences for the user about problems with the file, without duplicates.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path, self.limit = path, limit if limit is not None else limits().store_mb << 20
        self.remarks: list[str] = []
        self._lock = threading.RLock()
        self._unwritten: dict[str, bytes] = {}
        self._used: set[str] = set()
        self._written_at = time.monotonic()
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._safely(self._open, None)

    def get(self, key: str) -> bytes | None:
        """The value of a key, or None."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Key -> value, for the keys that have a value."""
        with self._lock:
            unique = list(dict.fromkeys(keys))
            values = {key: self._unwritten[key] for key in unique if key in self._unwritten}
            rest = [key for key in unique if key not in values]
            for start in range(0, len(rest), KEYS_PER_QUERY):
                empty: dict[str, bytes] = {}
                values |= self._safely(partial(self._read, rest[start : start + KEYS_PER_QUERY]), empty)
            if len(self._used) > MAX_USES:
                self.flush()
            return values

    def put(self, key: str, value: bytes) -> None:
        """Store a value. It is written to the file soon, at the latest when the store is closed."""
        with self._lock:
            if self._connection is None or len(value) > self.limit // 2:
                return
            self._unwritten[key] = value
            if len(self._unwritten) >= BATCH or time.monotonic() - self._written_at >= WRITE_SECONDS:
                self.flush()

    def flush(self) -> None:
        """Write all unwritten values, in one transaction."""
        with self._lock:
            if self._unwritten or self._used:
                self._safely(self._write, None)
            self._unwritten.clear()
            self._used.clear()
            self._written_at = time.monotonic()

    def close(self) -> None:
        with self._lock:
            self.flush()
            self._disconnect()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- one transaction each; errors of SQLite are handled in `_safely` ----------------------------------

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._file = _file_id(self.path)
        self._write_ahead()
        self._file = _file_id(self.path)  # the first statement creates a new file
        self._connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing that was committed
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            drop = "DROP TABLE IF EXISTS kept;" if version else ""  # everything can be computed again
            self._connection.executescript(f"BEGIN IMMEDIATE; {drop} {_TABLE} PRAGMA user_version = {VERSION}; COMMIT")

    def _write_ahead(self) -> None:
        """Switch to write-ahead logging (WAL), which allows readers beside a writer.

        If two processes switch at the same time, SQLite does not queue them, so it is tried several times.
        """
        assert self._connection is not None
        for attempts_left in range(50, -1, -1):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not attempts_left or _code(error) not in _BUSY:
                    raise
                time.sleep(0.1)

    def _read(self, keys: list[str]) -> dict[str, bytes]:
        assert self._connection is not None
        marks = ",".join("?" * len(keys))
        rows = self._connection.execute(f"SELECT key, crc, value FROM kept WHERE key IN ({marks})", keys).fetchall()
        values = {key: value for key, crc, value in rows if isinstance(value, bytes) and _crc(key, value) == crc}
        self._used.update(values)
        return values

    def _write(self) -> None:
        assert self._connection is not None
        self._connection.execute("BEGIN IMMEDIATE")
        now = self._now()
        rows = [(key, now, _crc(key, value), value) for key, value in self._unwritten.items()]
        self._connection.executemany("UPDATE kept SET used = ? WHERE key = ?", [(now, key) for key in self._used])
        self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
        self._delete_oldest()
        self._connection.execute("COMMIT")

    def _now(self) -> float:
        """The current time, or a later one than all in the file if the clock was set back.

        Otherwise new values would count as the oldest and would be deleted first.
        """
        assert self._connection is not None
        (newest,) = self._connection.execute("SELECT max(used) FROM kept").fetchone()
        return max(time.time(), (newest or 0.0) + TICK)

    def _delete_oldest(self) -> None:
        """Delete old values within the current transaction; SQLite reuses the freed pages before the file grows."""
        pages = self._pages("page_count") - self._pages("freelist_count")
        if pages * self._pages("page_size") <= self.limit:
            return
        assert self._connection is not None
        excess = pages * self._pages("page_size") - SHARE_LEFT * self.limit
        oldest = []
        for row, size in self._connection.execute("SELECT rowid, length(value) FROM kept ORDER BY used, rowid"):
            if excess <= 0:
                break
            oldest.append((row,))
            excess -= size
        self._connection.executemany("DELETE FROM kept WHERE rowid = ?", oldest)

    def _pages(self, what: str) -> int:
        assert self._connection is not None
        (number,) = self._connection.execute(f"PRAGMA {what}").fetchone()
        return int(number)

    # ---- problems with the file ---------------------------------------------------------------------------

    def _safely(self, act: Callable[[], T], otherwise: T) -> T:
        """The result of `act`. If `act` raises an error of SQLite, a remark is added and `otherwise` is returned."""
        if self._connection is None and act != self._open:
            return otherwise
        try:
            return act()
        except sqlite3.Error as error:
            if _code(error) in _DAMAGED:
                return self._replace_damaged(act, otherwise)
            self._give_up(str(error), permanently=_code(error) not in _BUSY or act == self._open)
        except OSError as error:
            self._give_up(error.strerror or str(error), permanently=True)
        return otherwise

    def _replace_damaged(self, act: Callable[[], T], otherwise: T) -> T:
        """Set the damaged file aside, continue with an empty one and repeat `act` there."""
        self._disconnect()
        try:
            aside = _set_aside(self.path, self._file)
            self._open()
            if aside is not None:
                self._remark(
                    f"The cache {self.path} was damaged. It was renamed to {aside.name}, and a new one was created."
                )
            return otherwise if act == self._open else act()
        except (sqlite3.Error, OSError) as error:
            self._give_up(str(error), permanently=True)
            return otherwise

    def _give_up(self, reason: str, permanently: bool) -> None:
        if permanently:
            self._disconnect()
        elif self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._remark(f"The cache {self.path} cannot be used ({reason}); the work continues without it.")

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # expected of a damaged file
                connection.close()

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary error code; 0 for errors that Python's sqlite3 module itself raised."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _crc(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode()))


def _file_id(path: Path) -> tuple[int, int] | None:
    """(device, inode) of the file that is at a path now, or None if there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _set_aside(path: Path, damaged: tuple[int, int] | None) -> Path | None:
    """Rename a damaged database file and its journal. Returns the new path of the file.

    Returns None if another process has created a new file in the meantime. The journal is renamed first, because a
    process that opens the file in between must not find another file's journal. Only the latest damaged file is kept,
    so that such files do not fill the disk.
    """
    if _file_id(path) != damaged:
        return None
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
