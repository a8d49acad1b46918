"""A job as bytes, with what is heavy left out: models and images travel once a worker, not once a job.

Blobs, and byte strings of `HEAVY` bytes or more wherever they stand in the arguments, are replaced by their digests;
the parcel's `needs` names them. They are put back where the job runs, in a process that only its engine talks to.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cloudpickle

from qviz.engine.interface import Blob

HEAVY = 16 << 10


@dataclass(frozen=True, slots=True)
class Parcel:
    """call: the pickled function and its arguments. blobs, heavy: the digests it needs."""

    call: bytes
    blobs: tuple[str, ...]
    heavy: tuple[str, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(self.blobs + self.heavy))


def packed(call: Any) -> tuple[Parcel, dict[str, bytes]]:
    """A job, and the heavy bytes that were taken out of it, by digest."""
    buffer = io.BytesIO()
    packer = _Packer(buffer)
    packer.dump(call)
    return Parcel(buffer.getvalue(), tuple(sorted(packer.blobs)), tuple(packer.heavy)), packer.heavy


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.blobs: set[str] = set()
        self.heavy: dict[str, bytes] = {}

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        if isinstance(value, Blob):
            self.blobs.add(value.digest)
            return "blob", value.digest
        if type(value) is bytes and len(value) >= HEAVY:
            digest = hashlib.sha256(value).hexdigest()
            self.heavy[digest] = value
            return "heavy", digest
        return None


class _Unpacker(pickle.Unpickler):
    def __init__(self, call: bytes, blobs: Mapping[str, Blob], heavy: Mapping[str, bytes]) -> None:
        super().__init__(io.BytesIO(call))
        self._kinds: dict[str, Mapping[str, Any]] = {"blob": blobs, "heavy": heavy}

    def persistent_load(self, identity: Any) -> Any:
        kind, digest = identity
        return self._kinds[kind][digest]


def run_packed(call: bytes, blobs: Mapping[str, Blob], heavy: Mapping[str, bytes]) -> bytes:
    """In the process that runs the job: its result, pickled, so that whoever passes it on need not know its type."""
    result = _Unpacker(call, blobs, heavy).load()()
    return bytes(cloudpickle.dumps(result))
