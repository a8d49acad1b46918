"""What a worker gives back: memory that the C library keeps after an interpreter is gone (a third of it, measured)."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

GROWTH = 192 << 20
"""Bytes of resident memory after which it is worth asking; asking takes some ten milliseconds."""
LARGE, POOLS = 256 << 10, 2
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Their numbers in malloc.h."""
REUSED, KEPT = 16 << 20, 64 << 20
"""Bytes of a block that a worker finds again, and of all that it keeps for that."""
_PAGE = 4096
_kept = 0
PAUSE = 15.0
_collected = 0.0


def tidied(job: Callable[[], R]) -> R:
    """Run a job; where the worker has grown by `GROWTH` since the last time, hand back what is free."""
    global _kept
    try:
        return job()
    finally:
        if _resident() - _kept > GROWTH:
            gc.collect()
            _trim()
            _kept = _resident()


def worker_malloc(others: str = "") -> str:
    """GLIBC_TUNABLES of a worker, whose every image takes a few blocks of a megabyte; others: what is set already.

    The next image finds the same blocks again: else the system hands them out anew, page by page, a third of the time
    that an image takes to be decoded and resized. `tidied` gives back what has gathered. And large pages where the
    system has them to give: weights of tens of megabytes are read through at every run (2 % of it).
    """
    own = f"glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold={REUSED}:glibc.malloc.trim_threshold={KEPT}"
    return f"{own}:{others}" if others else own


def trim_malloc() -> None:
    """For a server that many hand large files to: what is free goes back to the system.

    glibc moves the size from which it does so up to the largest block ever freed (5 MB after one model), and keeps a
    pool for every few threads, which hardly ever shrinks; a server has a thread a visit.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_ARENA_MAX, POOLS)
    except (OSError, AttributeError):  # no glibc
        return


def free_closed_sessions() -> None:
    """Free what is unreachable, at most every `PAUSE` seconds.

    A visitor who has left holds megabytes in few objects, in cycles; Python looks for those after many new objects.
    """
    global _collected
    if time.monotonic() - _collected > PAUSE:
        _collected = time.monotonic()
        gc.collect()
        _trim()


def _resident() -> int:
    """Bytes; 0 where the system does not tell (then nothing is ever asked)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _trim() -> None:
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # no glibc: its allocator has its own ways
        return
