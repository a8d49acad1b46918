"""What a new worker process does first: bounds its memory, falls silent, ends with its parent, warms up."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

from qviz.engine.interface import WarmUp


def first_job(warm_up: WarmUp, hard_limit: int, parent: int, folder: Path) -> None:
    """Runs in the new worker. One allocation faster than the watch's look fails on the hard limit."""
    threading.Thread(target=_outlive_nobody, args=(parent, folder), daemon=True).start()
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (hard_limit, hard_limit))
    if "QVIZ_DEBUG" not in os.environ:  # delegates and crashes talk there; the job's error says what a user needs
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if warm_up is not None:
        warm_up()


def _outlive_nobody(parent: int, folder: Path) -> None:
    """End with the engine's process, however that ended: a killed one cannot stop its workers nor clean up."""
    while os.getppid() == parent:  # Windows never tells another; loky's workers end there by themselves
        time.sleep(1.0)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)
