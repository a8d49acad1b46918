"""Damaged device recordings, by number: a document with impossible values, or an array with changed bytes.

Half of the changed files get the right hash, as from an attacker; the others must be refused because of the hash.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from qviz.context import Context
from qviz.engine import Engine
from qviz.errors import QvizError
from qviz.features.backends.device import device_pack, device_read, device_run
from qviz.features.backends.recording import MANIFEST, RECORDING
from qviz.features.detection.models import ModelSource, load_model
from qviz.structures import digest_of
from tests.fuzz.containers import CHANGES
from tests.fuzz.documents import changed
from tests.fuzz.models import SEED, base
from tests.fuzz.run import Tally, Witness, each

Files = dict[str, bytes]


def recording(engine: Engine, witness: Witness) -> Files:
    """Path -> bytes of a whole recording of one image by a small model."""
    model = load_model(engine, ModelSource("small.tflite", base("small")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "recording"
        device_pack(Context(engine), model, [witness.image], folder)
        device_run(Context(engine), folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaged(number: int, files: Mapping[str, bytes]) -> tuple[str, Files, bool]:
    """(name of the changed file, all files, whether a hash shows the change)."""
    draw = np.random.default_rng([SEED, 7, number])
    names = [MANIFEST, RECORDING, *sorted(name for name in files if name.startswith("outputs/"))]
    name = names[number % len(names)]
    if name in (MANIFEST, RECORDING):
        data = changed(json.loads(files[name]), draw)
    else:
        data = CHANGES[list(CHANGES)[int(draw.integers(len(CHANGES)))]](files[name], draw)
    result = {**files, name: data}
    if draw.random() < 0.5:
        result[RECORDING] = result[RECORDING].replace(digest_of(files[name]).encode(), digest_of(data).encode())
        return name, result, False
    return name, result, data != files[name] and name != RECORDING


def fuzz_recordings(engine: Engine, numbers: range) -> Tally:
    """Read the recordings with these numbers as `qviz device read` does."""
    witness = Witness(engine)
    files = recording(engine, witness)

    def one(number: int) -> str:
        _, changed_files, visible = damaged(number, files)
        with tempfile.TemporaryDirectory() as name:
            for path, data in changed_files.items():
                (Path(name) / path).parent.mkdir(exist_ok=True)
                (Path(name) / path).write_bytes(data)
            try:
                results = device_read(Context(engine), Path(name))
            except QvizError as error:
                assert len(str(error)) < 2_000, str(error)[:2_000]
                return f"refused: {type(error).__name__}"
        assert not visible, "a changed file with the old hash was read"
        json.dumps(results.to_json(), allow_nan=False)
        return "read"

    return each(engine, list(numbers), one, lambda number: f"recording {number} ({damaged(number, files)[0]})", witness)
