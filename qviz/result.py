"""`Result`, the base class of what analyses return, and the conversion of frozen dataclasses to JSON and back.

`to_json` returns the public form, with the keys that `--json` prints. `encode` returns every field, for saved studies.
`decode` reads what `encode` returned, and only creates objects of the types that the type hints name.

A dataclass becomes an object with one key per field; a tuple becomes a list; a mapping becomes an object, or a list of
pairs if its keys are not strings; bytes become base64; an array becomes {dtype, shape, data}. Numbers that are not
finite become null. `decode` checks every value against its hint: a missing field takes its default, and an unknown
field is an error.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import enum
import json
import math
import os
import types
from collections.abc import Callable, Mapping
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from qviz.errors import SettingsError
from qviz.formatting import encodable, frame_csv
from qviz.metrics import flat_metrics

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

LONGEST = 100_000
"""Maximum length of a text that `decode` reads, in characters."""
LARGEST = 2**53
"""Largest whole number that all JSON readers represent exactly."""
DTYPES = ("float32", "float64", "int32", "int64")
MAX_REPR = 500
"""Maximum length of a result's repr, in characters, so that it fits on a screen."""
SHOWN_ROWS = 10
"""Number of rows of the table that a notebook shows."""
DEEPEST = 4
"""Maximum depth of nested lists and objects where a hint says Any."""


class Misfit(Exception):
    """A value does not match its type hint; the message says where the value is and what is wrong."""


def encode(value: Any) -> Any:
    """A value with all its fields, in a form that `json.dumps` accepts."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return str(value)  # an enumeration's member is written as its text
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, np.ndarray):
        return {
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "data": encode(np.ascontiguousarray(value).tobytes()),
        }
    if isinstance(value, Mapping):
        return _encoded_mapping(value)
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _encoded_mapping(value: Mapping[Any, Any]) -> Any:
    if all(isinstance(key, str) for key in value):
        return {str(key): encode(item) for key, item in value.items()}
    return [[encode(key), encode(item)] for key, item in value.items()]


def decode(hint: Any, value: Any, where: str) -> Any:
    """The object of type `hint` that `encode` returned as `value`.

    A field may also be stored under its public key (`JSON_NAMES`), as in older studies.

    Args:
        where: Position of the value in its file, for messages.

    Raises:
        Misfit: The value does not match the hint.
    """
    if hint in PLAIN:
        return PLAIN[hint](value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _object(hint, value, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint, value, where)
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, where)
    if origin is tuple:
        return _tuple(parts, value, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(parts, value, where)
    raise TypeError(f"{where} has the type {hint}, which cannot be written as JSON")


def _member(hint: type[enum.Enum], value: Any, where: str) -> enum.Enum:
    try:
        return hint(value)
    except ValueError:
        raise _wrong(value, where, f"one of {', '.join(str(member.value) for member in hint)}") from None


def _object(hint: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, where, "an object")
    fields = {field.name: field for field in dataclasses.fields(hint)}
    aliases = {alias: name for name, alias in getattr(hint, "JSON_NAMES", {}).items() if alias not in fields}
    value = {aliases.get(name, name): item for name, item in value.items()}
    if unknown := sorted(set(value) - set(fields)):
        raise Misfit(f"{where} has the unknown field {unknown[0][:60]!r}")
    missing = [name for name, field in fields.items() if name not in value and _has_no_default(field)]
    if missing:
        raise Misfit(f"{where} lacks {missing[0]!r}")
    hints = _hints(hint)
    return hint(**{name: decode(hints[name], item, f"{where}.{name}") for name, item in value.items()})


@cache
def _hints(hint: type) -> dict[str, Any]:
    return get_type_hints(hint)


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _one_of(parts: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in parts:
        return None
    rest = [part for part in parts if part is not type(None)]
    for part in rest[:-1]:
        try:
            return decode(part, value, where)
        except Misfit:
            continue
    return decode(rest[-1], value, where)


def _tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _wrong(value, where, "a list")
    if len(parts) == 2 and parts[1] is Ellipsis:
        return tuple(decode(parts[0], item, f"{where}[{position}]") for position, item in enumerate(value))
    if len(value) != len(parts):
        raise Misfit(f"{where} has {len(value)} entries; {len(parts)} are expected")
    return tuple(
        decode(part, item, f"{where}[{position}]")
        for position, (part, item) in enumerate(zip(parts, value, strict=True))
    )


def _mapping(parts: tuple[Any, ...], value: Any, where: str) -> dict[Any, Any]:
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        raise _wrong(value, where, "an object")
    key_hint, value_hint = parts
    return {
        decode(key_hint, name, f"a key of {where}"): decode(value_hint, item, f"{where}[{str(name)[:40]!r}]")
        for name, item in pairs
    }


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong(value, where, "a text")
    if len(value) > LONGEST:
        raise Misfit(f"{where} has {len(value)} characters, at most {LONGEST} are read")
    return value


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(value, where, "true or false")
    return value


def _int(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST:
        raise _wrong(value, where, "a whole number")
    return value


def _float(value: Any, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < math.inf:
        raise _wrong(value, where, "a number")
    return float(value)


def _bytes(value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        raise _wrong(value, where, "base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(value, where, "base64") from None


def _array(value: Any, where: str) -> np.ndarray:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data"} or value["dtype"] not in DTYPES:
        raise _wrong(value, where, f"an array of {', '.join(DTYPES)}")
    shape = decode(tuple[int, ...], value["shape"], f"{where}.shape")
    data, dtype = _bytes(value["data"], f"{where}.data"), np.dtype(value["dtype"])
    if min(shape, default=0) < 0 or len(shape) > 4 or math.prod(shape) * dtype.itemsize != len(data):
        raise Misfit(f"{where} has {len(data)} bytes, which do not fill the shape {list(shape)[:8]}")
    return np.frombuffer(data, dtype).reshape(shape)


def _anything(value: Any, where: str, depth: int = 0) -> Any:
    """A plain JSON value that is nested at most `DEEPEST` deep. Raises Misfit."""
    if depth > DEEPEST:
        raise Misfit(f"{where} is nested too deeply")
    if isinstance(value, dict):
        return {_text(key, where): _anything(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_anything(item, where, depth + 1) for item in value]
    if isinstance(value, float):
        return _float(value, where)
    return _text(value, where) if isinstance(value, str) else value


PLAIN: dict[Any, Callable[[Any, str], Any]] = {
    str: _text,
    bool: _bool,
    int: _int,
    float: _float,
    bytes: _bytes,
    np.ndarray: _array,
    Any: _anything,
}


def _wrong(value: Any, where: str, expected: str) -> Misfit:
    shown = repr(value)[:60] if not isinstance(value, (dict, list)) else f"{type(value).__name__} of {len(value)}"
    return Misfit(f"{where} is {shown}; {expected} is expected")


def to_json(value: Any) -> Any:
    """The public form of a value for `json.dumps`.

    Numbers are not rounded. None, NaN and infinite numbers become null, and arrays become lists. A dataclass becomes an
    object with one key per field, unless these class variables of the dataclass change it:

    JSON_NAMES   field -> its key if that differs from the name; None leaves the field out
    JSON_INLINE  fields whose own keys become keys of this object
    JSON_ALSO    properties to add
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object_to_json(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)


def _object_to_json(value: Any) -> dict[str, Any]:
    names, inline = getattr(value, "JSON_NAMES", {}), getattr(value, "JSON_INLINE", ())
    document: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        key = names.get(field.name, field.name)
        if field.name in inline:
            document |= to_json(getattr(value, field.name)) or {}
        elif key is not None:
            document[key] = to_json(getattr(value, field.name))
    for name in getattr(value, "JSON_ALSO", ()):
        document[names.get(name, name)] = to_json(getattr(value, name))
    return document


class Result:
    """Base class of all results of analyses; subclasses are `@dataclass(frozen=True, slots=True, repr=False)`.

    `verdict(result)` in the feature's `text.py` returns the sentence, and `figure(result, **options)` in its `plot.py`
    returns the chart; both modules are imported on first use.

    The class variable ROWS names the field whose items are the rows of `to_frame`. The class variables that `to_json`
    uses are described there.
    """

    __slots__ = ()
    ROWS: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """The document that the command prints with --json; see the function `to_json` of this module."""
        document: dict[str, Any] = to_json(self)
        return document

    def metrics(self, prefix: str = "") -> dict[str, float]:
        """Every number of `to_json` in one flat dictionary, for experiment trackers; see `qviz.metrics`.

        Example:
            >>> mlflow.log_metrics(result.metrics(prefix="qviz/"))
        """
        return flat_metrics(self.to_json(), prefix)

    def to_frame(self) -> pd.DataFrame:
        """One row per item of `ROWS`, one column per field; lists and objects inside a row are left out."""
        import pandas as pd

        rows = [to_json(row) for row in getattr(self, self.ROWS)]
        flat = [{key: cell for key, cell in row.items() if not isinstance(cell, (list, dict))} for row in rows]
        return pd.DataFrame(flat)

    def plot(self, **options: Any) -> go.Figure:
        """The main chart, a plotly Figure. options: arguments of the function `figure` in the feature's `plot.py`."""
        figure: go.Figure = self._module("plot").figure(self, **options)
        return figure

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the result as `.json`, `.csv` (`to_frame`), `.html` (the chart) or `.tflite` (the built file).

        Returns the path. Raises SettingsError for any other suffix, or if the file cannot be written.
        """
        from qviz.store.whole_files import write_whole

        target = Path(path)
        try:
            if target.suffix == ".json":
                write_whole(target, json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False).encode())
            elif target.suffix == ".csv":
                write_whole(target, encodable(frame_csv(self.to_frame())).encode())
            elif target.suffix == ".html":
                write_whole(target, self.plot().to_html(include_plotlyjs=True).encode())
            elif target.suffix == ".tflite" and isinstance(data := getattr(self, "data", None), bytes):
                write_whole(target, data)
            elif target.suffix == ".tflite" and hasattr(self, "data"):
                raise SettingsError(f"{target.name} cannot be saved: this result has no .tflite file.")
            else:
                endings = ".json, .csv, .html or .tflite" if hasattr(self, "data") else ".json, .csv or .html"
                raise SettingsError(f"{target.name} cannot be saved: give a name that ends in {endings}.")
        except OSError as error:
            raise SettingsError(f"{target} cannot be written ({error.strerror}).") from error
        return target

    def __str__(self) -> str:
        return str(self._module("text").verdict(self))

    def __repr__(self) -> str:
        text = f"{type(self).__name__}: {self}"
        return text if len(text) <= MAX_REPR else text[: MAX_REPR - 1] + "…"

    def _repr_html_(self) -> str:
        """The HTML that notebooks show: the verdict, and the first rows as a table."""
        verdict = f"<p><b>{escape(str(self))}</b></p>"
        return verdict + (self.to_frame().head(SHOWN_ROWS).to_html(index=False, escape=True) if self.ROWS else "")

    def _module(self, name: str) -> Any:
        feature = ".".join(type(self).__module__.split(".")[:3])
        return import_module(f"{feature}.{name}")
