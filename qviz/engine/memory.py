"""Memory of processes: limits, and returning freed memory, which glibc would keep, to the operating system.

All code that works only on Linux is in this module and in `qviz.engine.sandbox`. On other systems, these functions do
nothing, and `memory_limit_sentence` says what this means for a worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")

GROWTH = 192 << 20
"""Growth in bytes after which a worker gives memory back, which takes about 10 ms."""
LARGE_BLOCK, ARENAS = 256 << 10, 2
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
"""Parameters of mallopt, from malloc.h."""
REUSED_BLOCK, REUSED_TOTAL = 16 << 20, 64 << 20
"""Size of the largest block that a worker's malloc reuses, and of the free memory that it keeps, in bytes."""
PAUSE_SECONDS = 15.0
_PAGE = 4096
_resident_after = 0
_collected_at = 0.0


def tidied(job: Callable[[], R]) -> R:
    """Run a job and return its result. If the worker has grown by more than `GROWTH`, freed memory is given back."""
    global _resident_after
    try:
        return job()
    finally:
        if _resident() - _resident_after > GROWTH:
            gc.collect()
            _trim()
            _resident_after = _resident()


def worker_malloc(others: str = "") -> str:
    """The value of GLIBC_TUNABLES for a worker. others: the value that is already set.

    An image needs a few blocks of about 1 MB. If the next image can reuse them, decoding and resizing take a third less
    time than with fresh pages from the system. Huge pages, where available, save 2 % of the time of a run, which reads
    tens of megabytes of weights.
    """
    tunables = f"hugetlb=1:glibc.malloc.mmap_threshold={REUSED_BLOCK}:glibc.malloc.trim_threshold={REUSED_TOTAL}"
    return f"glibc.malloc.{tunables}:{others}" if others else f"glibc.malloc.{tunables}"


def trim_malloc() -> None:
    """Make malloc of a server give freed memory back to the system.

    By default, glibc gives back only blocks that are larger than the largest block freed so far (5 MB after one model).
    It also keeps one arena for every few threads, which hardly ever shrinks, and a server has one thread per visit.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        libc.mallopt(M_ARENA_MAX, ARENAS)
    except (OSError, AttributeError):  # no glibc
        return


def free_closed_sessions() -> None:
    """Free unreachable objects, at most every `PAUSE_SECONDS`.

    A closed session leaves megabytes in a few objects that refer to each other. Python looks for such cycles only after
    many new objects have been created.
    """
    global _collected_at
    if time.monotonic() - _collected_at > PAUSE_SECONDS:
        _collected_at = time.monotonic()
        gc.collect()
        _trim()


def machine_memory() -> tuple[int, int]:
    """(installed, available) memory of this machine, in bytes."""
    import psutil

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def limit_memory(hard_limit: int) -> None:
    """Make allocations of this process fail above `hard_limit` bytes, even if it grows faster than the engine polls."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (hard_limit, hard_limit))


def memory_limit_sentence() -> str:
    """How the memory of a worker is limited on this system."""
    if sys.platform == "linux":
        return "hard: an allocation beyond the limit fails"
    return "watched: a worker beyond the limit is ended, but it may exceed it briefly, as there is no hard limit here"


def forget_peak() -> None:
    """Reset the recorded peak memory of this process. Does nothing except on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Peak resident memory of this process in bytes, or None if the system does not report it.

    On Linux it is not read from `ru_maxrss`, which includes the peak of the parent process.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def resident_memory(process: Any) -> int:
    """Resident memory in bytes of a process (`psutil.Process`, or its pid); 0 if it has ended."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return int((psutil.Process(process) if isinstance(process, int) else process).memory_info().rss)
    return 0


def _resident() -> int:
    """Resident memory of this process in bytes; 0 if it is unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _trim() -> None:
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # no glibc
        return
