"""Bytes in files that worker processes read: the latest stay within a bound, older ones as long as a job needs them.

A server that runs for weeks receives new models with every visitor; without a bound its disk fills up.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from pathlib import Path

from qviz.cache import LRUCache
from qviz.engine.interface import Blob


class SharedFiles:
    """Thread-safe. `max_bytes` stay; beyond that, a file goes when its last `Blob` in this process is gone."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._dropped: list[Blob] = []
        self._latest: LRUCache[Blob] = LRUCache(max_bytes, lambda blob: self._sizes[blob], self._dropped.append)
        self._sizes: weakref.WeakKeyDictionary[Blob, int] = weakref.WeakKeyDictionary()
        self._alive: weakref.WeakValueDictionary[str, Blob] = weakref.WeakValueDictionary()

    def share(self, data: bytes, digest: str) -> Blob:
        """The file of these bytes; written if it is not there."""
        with self._lock:
            blob = self._alive.get(digest) or self._written(data, digest)
            self._sizes[blob] = len(data)
            self._latest.put(digest, blob)
            dropped, self._dropped[:] = list(self._dropped), []
        del dropped  # outside the lock: their files go now, unless a job still holds them
        return blob

    def _written(self, data: bytes, digest: str) -> Blob:
        path = self._folder / f"{digest}.{next(self._count)}"  # its own name: an old file may be removed at this moment
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.replace(path)  # a worker never sees half a file
        blob = Blob(digest, path)
        weakref.finalize(blob, path.unlink, missing_ok=True).atexit = False  # the folder is removed as a whole
        self._alive[digest] = blob
        return blob
