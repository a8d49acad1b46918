"""Keep the new side's last recordings, so that they can be compared again without running anything."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from tests.golden.checkout import Side, cache_folder
from tests.golden.record import Recording, recorded


def _path(part: str, quick: bool) -> Path:
    return cache_folder() / "last" / f"{part}{'-quick' if quick else ''}.json.gz"


def new_recording(side: Side, part: str, quick: bool, fresh: bool, again: bool) -> Recording:
    """The recording of a part on the new side.

    again: read the last recording instead of running the part. Raises SystemExit if there is none.
    """
    path = _path(part, quick)
    if again:
        if not path.is_file():
            raise SystemExit(f"--again: {part} was not run on the new side before; leave the option out.")
        return json.loads(gzip.decompress(path.read_bytes()))
    recording = recorded(side, part, quick, fresh)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(recording).encode()))
    return recording
