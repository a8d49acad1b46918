"""Results of long computations in the store, so that they open again after a restart of the server.

The key of a result has everything that it depends on: the digests of files, settings, options and the code. So it is
found by whoever has the same files, in any project, and by nobody else. What cannot be read back exactly is not stored.
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
}
"""Kind of job -> module and type of its result. Those of other kinds take seconds, and are not stored."""
MAX_BYTES = 512 << 20
"""Of a result as JSON."""


def load(store: Store | None, kind: str, key: object) -> Any:
    """The stored result of this kind and key, or None."""
    value = store.get(_name(kind, key)) if store is not None and kind in TYPES else None
    return _read(kind, value) if value else None


def save(store: Store | None, kind: str, key: object, result: object) -> None:
    """Store a result, if it is of the type of its kind and can be read back as it is."""
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
    """The result, or None where the bytes are not one."""
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
    """The key in the store: sha256 over the code and all parts of the key."""
    return f"result-{kind}-{digest_of(repr((code_digest(*JOBS), _parts(key))).encode())}"


def _parts(value: object) -> object:
    """A key as nested tuples of texts and numbers that are equal in every process. Raises TypeError for other parts."""
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
