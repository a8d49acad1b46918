"""Return memory that was freed to the system, in workers and in the server; glibc would keep it."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")

GROWTH = 192 << 20
"""Bytes of growth after which a worker frees memory; that takes some 10 ms."""
LARGE_BLOCK, ARENAS = 256 << 10, 2
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Parameters of mallopt, from malloc.h."""
REUSED_BLOCK, REUSED_TOTAL = 16 << 20, 64 << 20
"""Largest block that malloc of a worker reuses, and the free bytes that it keeps."""
PAUSE_SECONDS = 15.0
_PAGE = 4096
_resident_after = 0
_collected_at = 0.0


def tidied(job: Callable[[], R]) -> R:
    """Run a job, then return freed memory to the system if the worker has grown by more than `GROWTH`."""
    global _resident_after
    try:
        return job()
    finally:
        if _resident() - _resident_after > GROWTH:
            gc.collect()
            _trim()
            _resident_after = _resident()


def worker_malloc(others: str = "") -> str:
    """The value of GLIBC_TUNABLES for a worker. others: the value that is set already.

    An image needs a few blocks of about 1 MB. If the next image can reuse them, decoding and resizing takes a third
    less time than with fresh pages from the system. Huge pages, where available, save 2 % of a run, which reads tens of
    megabytes of weights.
    """
    tunables = f"hugetlb=1:glibc.malloc.mmap_threshold={REUSED_BLOCK}:glibc.malloc.trim_threshold={REUSED_TOTAL}"
    return f"glibc.malloc.{tunables}:{others}" if others else f"glibc.malloc.{tunables}"


def trim_malloc() -> None:
    """Make a server return freed memory to the system.

    By default glibc raises its threshold for that to the largest block ever freed (5 MB after one model) and keeps an
    arena for every few threads, which hardly ever shrinks; a server has a thread per visit.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        libc.mallopt(M_ARENA_MAX, ARENAS)
    except (OSError, AttributeError):  # no glibc
        return


def free_closed_sessions() -> None:
    """Free unreachable objects, at most every `PAUSE_SECONDS`.

    A closed session leaves megabytes in few objects, in cycles; Python looks for cycles only after many new objects.
    """
    global _collected_at
    if time.monotonic() - _collected_at > PAUSE_SECONDS:
        _collected_at = time.monotonic()
        gc.collect()
        _trim()


def machine_memory() -> tuple[int, int]:
    """(installed, free) bytes of memory of this machine."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _resident() -> int:
    """Resident bytes of this process; 0 if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _trim() -> None:
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # no glibc
        return
