"""Store the results of long computations on disk, so that they are still available after the server restarts.

The key of a result contains everything that the result depends on: the digests of the files, settings, options and the
code. Any project with the same files therefore finds the result, and no other project does. A result that cannot be
read back exactly is not stored.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from qviz.engine.code import JOBS, code_digest
from qviz.result import Misfit, decode, encode
from qviz.store import Store
from qviz.structures import digest_of

TYPES = {
    "evaluate": "accuracy:Evaluation",
    "sweep": "corruption_sweep:RobustnessReport",
    "layers": "layer_error:LayerErrors",
    "trace": "tracing.result:Trace",
    "build": "building.result:Built",
    "train": "training:QatResult",
    "rescue": "rescuing.result:Rescue",
    "calibration": "calibrating.result:CalibrationLab",
    "profile": "cost:Profile",
    "diagnosis": "diagnosis.result:Diagnosis",
    "backends": "backends:BackendComparison",
    "report": "reporting.study:Study",
}
"""Kind of job -> module and type of its result. Jobs of other kinds take seconds, so their results are not stored."""
MAX_BYTES = 512 << 20
"""Maximum size of a stored result, as JSON."""


def load(store: Store | None, kind: str, key: object) -> Any:
    """The stored result of this kind and key, or None."""
    value = store.get(_name(kind, key)) if store is not None and kind in TYPES else None
    return _read(kind, value) if value else None


def has(store: Store | None, kind: str, key: object) -> bool:
    """Whether a result of this kind and key is stored."""
    return store is not None and kind in TYPES and bool(store.get(_name(kind, key)))


def save(store: Store | None, kind: str, key: object, result: object) -> None:
    """Store a result if it has the type that belongs to its kind and can be read back unchanged."""
    if store is None or kind not in TYPES or not isinstance(result, _type(kind)):
        return
    try:
        document = encode(result)
        value = zlib.compress(json.dumps(document, allow_nan=False).encode(), 1)
    except (TypeError, ValueError):
        return
    again = _read(kind, value)
    if again is not None and encode(again) == document:
        store.put(_name(kind, key), value)
        store.flush()


def forget(store: Store | None, kind: str, key: object) -> None:
    """Drop a stored result, so that it is computed again."""
    if store is not None and kind in TYPES:
        store.put(_name(kind, key), b"")
        store.flush()


def _read(kind: str, value: bytes) -> Any:
    """The result, or None if the bytes do not decode to a result of this kind."""
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(value, MAX_BYTES)
        return None if unpacker.unconsumed_tail else decode(_type(kind), json.loads(text), kind)
    except (zlib.error, ValueError, RecursionError, Misfit, TypeError):
        return None


def _type(kind: str) -> type:
    module, _, name = TYPES[kind].partition(":")
    result: type = getattr(import_module(f"qviz.features.{module}"), name)
    return result


def _name(kind: str, key: object) -> str:
    """The name of a result in the store, with the sha256 of the code and of all parts of the key."""
    return f"result-{kind}-{digest_of(repr((code_digest(*JOBS), _parts(key))).encode())}"


def _parts(value: object) -> object:
    """A key as nested tuples of strings and numbers, which are the same in every process.

    Raises TypeError for a part that cannot be represented in this way.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return digest_of(value)
    if isinstance(value, (tuple, list)):
        return tuple(_parts(part) for part in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(repr(_parts(part)) for part in value))
    if isinstance(value, Mapping):
        return tuple((_parts(key), _parts(part)) for key, part in value.items())
    if is_dataclass(value):
        return type(value).__qualname__, *(_parts(getattr(value, field.name)) for field in fields(value))
    raise TypeError(f"{type(value).__name__} is no part of the key of a result")
