"""Bytes by key in SQLite. Thread-safe; see `qviz.store` for what is promised.

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
from qviz.store.folder import identity, set_aside

T = TypeVar("T")

KEPT_SHARE = 0.9
"""How much of the limit stays when the oldest are taken out, so that this is not done at every write."""
BATCH = 32
PATIENCE = 0.5
"""Values are written when there are `BATCH`, or when the last write was `PATIENCE` seconds ago."""
TOUCHES = 512
BUSY_SECONDS = 10.0
AT_ONCE = 500
"""Keys asked for in one statement; SQLite allows 999 variables at least."""
VERSION = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS kept (key TEXT PRIMARY KEY, used REAL NOT NULL, crc INTEGER NOT NULL, value BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON kept (used);
"""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class Store:
    """One file of kept values. limit: bytes that it may take. remarks: sentences for the user, each said once."""

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path, self.limit = path, limit if limit is not None else limits().store_mb << 20
        self.remarks: list[str] = []
        self._lock = threading.RLock()
        self._waiting: dict[str, bytes] = {}
        self._touched: set[str] = set()
        self._written = time.monotonic()
        self._file: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._guarded(self._open, None)

    def get(self, key: str) -> bytes | None:
        """The value, or None where it is not kept (any more)."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Those values that are kept."""
        with self._lock:
            asked = list(dict.fromkeys(keys))
            found = {key: self._waiting[key] for key in asked if key in self._waiting}
            rest = [key for key in asked if key not in found]
            for start in range(0, len(rest), AT_ONCE):
                nothing: dict[str, bytes] = {}
                found |= self._guarded(partial(self._read, rest[start : start + AT_ONCE]), nothing)
            if len(self._touched) > TOUCHES:
                self.flush()
            return found

    def put(self, key: str, value: bytes) -> None:
        """Keep a value. It is in the file soon, at the latest when the store is closed."""
        with self._lock:
            if self._connection is None or len(value) > self.limit // 2:
                return
            self._waiting[key] = value
            if len(self._waiting) >= BATCH or time.monotonic() - self._written >= PATIENCE:
                self.flush()

    def flush(self) -> None:
        """Write what waits, in one transaction."""
        with self._lock:
            if self._waiting or self._touched:
                self._guarded(self._write, None)
            self._waiting.clear()
            self._touched.clear()
            self._written = time.monotonic()

    def close(self) -> None:
        with self._lock:
            self.flush()
            self._leave()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- one transaction each; whatever SQLite raises is handled in `_guarded` ----------------------------------

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._file = identity(self.path)
        self._write_ahead()
        self._file = identity(self.path)  # a new one is made by the first statement
        self._connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing that was committed
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            drop = "DROP TABLE IF EXISTS kept;" if version else ""  # of another qviz: all of it can be computed again
            self._connection.executescript(f"BEGIN IMMEDIATE; {drop} {_TABLE} PRAGMA user_version = {VERSION}; COMMIT")

    def _write_ahead(self) -> None:
        """WAL: readers and a writer side by side. Two processes that switch at the same time do not queue for it."""
        assert self._connection is not None
        for patience in range(50, -1, -1):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if not patience or _code(error) not in _BUSY:
                    raise
                time.sleep(0.1)

    def _read(self, keys: list[str]) -> dict[str, bytes]:
        assert self._connection is not None
        places = ",".join("?" * len(keys))
        rows = self._connection.execute(f"SELECT key, crc, value FROM kept WHERE key IN ({places})", keys).fetchall()
        found = {key: value for key, crc, value in rows if isinstance(value, bytes) and _crc(key, value) == crc}
        self._touched.update(found)
        return found

    def _write(self) -> None:
        assert self._connection is not None
        now = time.time()
        rows = [(key, now, _crc(key, value), value) for key, value in self._waiting.items()]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("UPDATE kept SET used = ? WHERE key = ?", [(now, key) for key in self._touched])
        self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", rows)
        self._take_out_the_oldest()
        self._connection.execute("COMMIT")

    def _take_out_the_oldest(self) -> None:
        """Within the transaction. What is free inside the file is used again before the file grows."""
        taken = self._pages("page_count") - self._pages("freelist_count")
        if taken * self._pages("page_size") <= self.limit:
            return
        assert self._connection is not None
        excess = taken * self._pages("page_size") - KEPT_SHARE * self.limit
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

    # ---- what can be wrong with a file ---------------------------------------------------------------------------

    def _guarded(self, act: Callable[[], T], otherwise: T) -> T:
        """What the act gives, or `otherwise` with a remark."""
        if self._connection is None and act != self._open:
            return otherwise
        try:
            return act()
        except sqlite3.Error as error:
            if _code(error) in _DAMAGED:
                return self._begin_anew(act, otherwise)
            self._give_up(str(error), for_good=_code(error) not in _BUSY or act == self._open)
        except OSError as error:
            self._give_up(error.strerror or str(error), for_good=True)
        return otherwise

    def _begin_anew(self, act: Callable[[], T], otherwise: T) -> T:
        """Set the damaged file aside and go on with an empty one: what was about to be written is written there."""
        self._leave()
        try:
            aside = set_aside(self.path, self._file)
            self._open()
            if aside is not None:
                self._remark(f"The cache {self.path} was damaged. It was set aside as {aside.name}; a new one begins.")
            return otherwise if act == self._open else act()
        except (sqlite3.Error, OSError) as error:
            self._give_up(str(error), for_good=True)
            return otherwise

    def _give_up(self, reason: str, for_good: bool) -> None:
        if for_good:
            self._leave()
        elif self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._remark(f"The cache {self.path} cannot be used ({reason}); the work goes on without it.")

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):  # of a damaged file nothing better can be expected
                connection.close()

    def _remark(self, sentence: str) -> None:
        if sentence not in self.remarks:
            self.remarks.append(sentence)


def _code(error: sqlite3.Error) -> int:
    """The primary code of what may be an extended one; 0 where Python itself raised it."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _crc(key: str, value: bytes) -> int:
    return zlib.crc32(value, zlib.crc32(key.encode()))
