"""Write a file as a whole: if the disk is full, no half file remains, and an earlier file stays as it was."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write the bytes beside the file and rename them to it. Raises OSError.

    What is no ordinary file, such as /dev/stdout, and a file in a folder that cannot be written, is written directly.
    """
    target = path.resolve()
    part = target.with_name(f".qviz-{os.getpid()}-{threading.get_ident()}.part")
    if (target.exists() and not target.is_file()) or not os.access(target.parent, os.W_OK):
        path.write_bytes(data)
        return
    try:
        part.write_bytes(data)
        if target.exists():
            part.chmod(target.stat().st_mode & 0o777)
        part.replace(target)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
