"""What long work has found so far, a line of JSON each: appended as it comes, read again when the work goes on.

A process that is killed leaves whole lines and at most one torn one, which is left out when the file is read; the next
line begins on a new one. What is no JSON object is left out too: a damaged journal costs time, nothing else. As with
the store, work goes on without one that cannot be written, and `remarks` says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST = 64 << 20
"""Bytes of a journal that are read; more than any work here writes."""
MOST = 100
"""Journals that a folder keeps; beyond, those go that were written to least recently."""


class Journal:
    """One file; with the path None nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.remarks: list[str] = []
        self._begun = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines that are whole, in their order."""
        if self.path is None or not self.path.is_file():
            return
        try:
            with self.path.open("rb") as stream:
                lines = stream.read(LARGEST).split(b"\n")
        except OSError as error:
            self._give_up(error)
            return
        yield from (row for row in map(_object, lines) if row is not None)

    def add(self, row: dict[str, Any]) -> None:
        """Append a line; the system has it when this returns."""
        if self.path is None:
            return
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        try:
            if not self._begun:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _keep_latest(self.path)
            with self.path.open("ab") as stream:
                stream.write(line if self._begun else b"\n" + line)  # behind what may be torn
        except OSError as error:
            self._give_up(error)
        self._begun = True

    def _give_up(self, error: OSError) -> None:
        self.remarks.append(f"{self.path} cannot be used ({error.strerror}); a killed run would begin anew.")
        self.path = None


def _keep_latest(path: Path) -> None:
    """Make room beside this one. Another process may do so at the same time."""
    others = [(other.stat().st_mtime, other) for other in path.parent.glob(f"*{path.suffix}") if other != path]
    for _, other in sorted(others)[: max(0, len(others) + 1 - MOST)]:
        other.unlink(missing_ok=True)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line, parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
