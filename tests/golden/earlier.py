"""The new side's last recordings, so that they can be compared once more without running anything."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.golden.checkout import Side, cache_folder
from tests.golden.record import Recording, recorded


def _path(part: str, quick: bool) -> Path:
    return cache_folder() / "last" / f"{part}{'-quick' if quick else ''}.json.gz"


def new_recording(side: Side, part: str, quick: bool, fresh: bool, again: bool) -> Recording:
    """What a part gives on the new side; again: what it gave when it was run last. Raises SystemExit without that."""
    path = _path(part, quick)
    if again:
        if not path.is_file():
            raise SystemExit(f"--again: {part} was not run on the new side before; leave the option out.")
        return json.loads(gzip.decompress(path.read_bytes()))
    recording = recorded(side, part, quick, fresh)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(recording).encode()))
    return recording
