"""Bytes in files that worker processes read: the latest kept within a bound, older ones as long as somebody needs them.

A server that runs for weeks is handed a model a visitor; without a bound its disk fills up with them.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections import OrderedDict
from pathlib import Path

from qviz.engine.interface import Blob


class SharedFiles:
    """Thread-safe. `most` bytes are kept; beyond, a file goes when its last `Blob` here (a job holds it) is gone."""

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most
        self._lock = threading.Lock()
        self._count = itertools.count()
        self._kept: OrderedDict[str, tuple[Blob, int]] = OrderedDict()
        self._alive: weakref.WeakValueDictionary[str, Blob] = weakref.WeakValueDictionary()

    def share(self, data: bytes, digest: str) -> Blob:
        """The file of these bytes; written if it is not there."""
        with self._lock:
            blob = self._alive.get(digest) or self._written(data, digest)
            self._kept[digest] = blob, len(data)
            self._kept.move_to_end(digest)
            gone = self._over_the_bound()
        del gone  # outside of the lock: their files go now, unless a job still holds them
        return blob

    def _written(self, data: bytes, digest: str) -> Blob:
        path = self._folder / f"{digest}.{next(self._count)}"  # its own name: an old file may be going at this moment
        part = path.with_suffix(".part")
        part.write_bytes(data)
        part.replace(path)  # a worker never sees half a file
        blob = Blob(digest, path)
        weakref.finalize(blob, path.unlink, missing_ok=True).atexit = False  # the folder goes as a whole
        self._alive[digest] = blob
        return blob

    def _over_the_bound(self) -> list[Blob]:
        gone: list[Blob] = []
        total = sum(size for _, size in self._kept.values())
        while total > self._most and len(self._kept) > 1:
            blob, size = self._kept.popitem(last=False)[1]
            gone.append(blob)
            total -= size
        return gone
