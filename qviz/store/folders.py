"""The folders in which qviz stores its caches and data for the current user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

WINDOWS = {"cache": "Cache", "data": "Data"}
MAC = {"cache": "Caches", "data": "Application Support"}
OTHERS = {"cache": ("XDG_CACHE_HOME", ".cache"), "data": ("XDG_DATA_HOME", ".local/share")}


def user_folder(kind: str) -> Path:
    """The folder named by `$QVIZ_CACHE` or `$QVIZ_DATA`, else qviz's folder in the usual place of the platform.

    Args:
        kind: `cache` for files that can be computed again, `data` for files that must not be lost.

    Raises:
        RuntimeError: There is no home folder.

    Example:
        >>> user_folder("cache").name  # on Linux
        'qviz'
    """
    if named := os.environ.get(f"QVIZ_{kind.upper()}"):
        return Path(named)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qviz" / WINDOWS[kind]
    if sys.platform == "darwin":
        return Path.home() / "Library" / MAC[kind] / "qviz"
    variable, usual = OTHERS[kind]
    return Path(os.environ.get(variable) or Path.home() / usual) / "qviz"
