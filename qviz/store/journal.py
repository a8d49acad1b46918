"""A journal of long work, from which the work can be resumed: one JSON object per line, appended as results arrive.

A killed process leaves complete lines and at most one incomplete line. Incomplete and damaged lines are skipped when
the file is read, and a new line is never appended to an incomplete one. If the file cannot be written, work continues
without it and `remarks` says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_BYTES = 64 << 20
"""Maximum number of bytes that are read. No journal of qviz is that large."""
MAX_JOURNALS = 100
"""Maximum number of journals in a folder; the least recently written ones are deleted."""


class Journal:
    """A journal in one file. If the path is None, nothing is recorded."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._started = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """The objects on all undamaged lines, in order."""
        if self.path is None or not self.path.is_file():
            return
        try:
            with self.path.open("rb") as stream:
                lines = stream.read(MAX_BYTES).split(b"\n")
        except OSError as error:
            self._give_up(error)
            return
        yield from (row for row in map(_object, lines) if row is not None)

    def add(self, row: dict[str, Any]) -> None:
        """Append an object as a line. The line is not lost if this process is killed afterwards."""
        if self.path is None:
            return
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            if not self._started:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _keep_latest(self.path)
            with self.path.open("ab") as stream:
                stream.write(line if self._started else b"\n" + line)  # the last line may be incomplete
        except OSError as error:
            self._give_up(error)
        self._started = True

    def _give_up(self, error: OSError) -> None:
        self.remarks.append(f"{self.path} cannot be used ({error.strerror}); if this run is killed, it cannot resume.")
        self.path = None


def _keep_latest(path: Path) -> None:
    """Delete old journals in the folder of this one. Another process may be doing the same."""
    others = [(other.stat().st_mtime, other) for other in path.parent.glob(f"*{path.suffix}") if other != path]
    for _, other in sorted(others)[: max(0, len(others) + 1 - MAX_JOURNALS)]:
        other.unlink(missing_ok=True)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
