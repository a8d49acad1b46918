"""Reads what a worker answers: pickled data, of which no code runs.

A hostile model may control its worker and write any bytes into the pipe to the server. Plain unpickling would call any
function that these bytes name. Here they can name only classes that hold data: dataclasses, named tuples, enumerations
and errors of qviz, errors of Python, arrays, and some types of Python.
"""

from __future__ import annotations

import builtins
import copyreg
import dataclasses
import enum
import io
import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeVar

R = TypeVar("R")

ALLOWED = {
    "builtins": {"bytearray", "complex", "frozenset", "range", "set", "slice"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "loky.process_executor": {"_RecycledWorkerPid", "_RemoteTraceback", "_ResultItem", "_rebuild_exc"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "pathlib": {"Path", "PosixPath", "WindowsPath"},
}
"""Module -> the names in it that an answer may use, besides errors of Python and the classes of qviz that hold data."""


def read_answer(data: bytes) -> Any:
    """Unpickle bytes from a worker. Raises pickle.UnpicklingError if they name anything that is not data."""
    return _Reader(io.BytesIO(data)).load()


def read_only_answers(executor: Any, max_bytes: int) -> None:
    """Let an executor of loky read the answers of its worker with `read_answer`, and none above `max_bytes`.

    An answer that cannot be read ends the worker, as if it had crashed.
    """
    reader = executor._result_queue._reader
    reader.recv = lambda: read_answer(reader.recv_bytes(max_bytes))


def with_readable_errors(job: Callable[[], R]) -> R:
    """Run a job in a worker. An error of another library becomes a RuntimeError with the same text."""
    try:
        return job()
    except Exception as error:
        kind = type(error)
        copyreg.dispatch_table.pop(kind, None)  # where tblib is installed, TensorFlow lets it send frames with errors
        if not _holds_data(kind, kind.__module__):
            raise RuntimeError(f"{kind.__module__}.{kind.__qualname__}: {error}") from error
        raise


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in ALLOWED or module.startswith("qviz."):
            value = getattr(import_module(module), name, None)
            if name in ALLOWED.get(module, ()) or _holds_data(value, module):
                return value
        raise pickle.UnpicklingError(f"a worker answered with {module}.{name}, which is no data")


def _holds_data(value: Any, module: str) -> bool:
    """Whether this is an error of Python, or a class of this module of qviz whose objects are but their fields."""
    if not isinstance(value, type) or value.__module__ != module:
        return False
    if module == builtins.__name__:
        return issubclass(value, BaseException)
    is_tuple = issubclass(value, tuple) and hasattr(value, "_fields")
    is_data = dataclasses.is_dataclass(value) or is_tuple or issubclass(value, (enum.Enum, BaseException))
    return is_data and module.startswith("qviz.")
