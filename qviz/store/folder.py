"""Where caches live on this machine, and how a damaged file is set aside."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

FILE = "detections.sqlite"


def cache_folder() -> Path:
    """`$QVIZ_CACHE`, else where the platform keeps caches. Raises RuntimeError where there is no home folder."""
    if said := os.environ.get("QVIZ_CACHE"):
        return Path(said)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qviz" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qviz"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qviz"


def identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to now, or None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: Path, damaged: tuple[int, int] | None) -> Path | None:
    """Rename a database file with its journal. None where another process has put a new one there meanwhile.

    The journal goes first: a process that opens the file in between must not find another's journal beside it. Only
    the latest damaged file is left, so that a failing disk does not fill up with them.
    """
    if identity(path) != damaged:
        return None
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink(missing_ok=True)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 10**6:06}")
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
