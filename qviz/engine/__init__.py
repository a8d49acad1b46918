"""Engines run jobs in worker processes, on this machine (`LocalEngine`) or on a Dask cluster (`qviz.engine.cluster`).

Both implement `Engine`, so that code that submits jobs works with either.
"""

from qviz.engine.interface import Blob, Engine, WarmUp, importing
from qviz.engine.local import LocalEngine, temporary_folder
from qviz.engine.memory import (
    forget_peak,
    free_closed_sessions,
    limit_memory,
    machine_memory,
    memory_limit_sentence,
    peak_memory,
    resident_memory,
    trim_malloc,
)
from qviz.engine.sandbox import enter_sandbox, sandbox_sentence

__all__ = [
    "Blob",
    "Engine",
    "LocalEngine",
    "WarmUp",
    "enter_sandbox",
    "forget_peak",
    "free_closed_sessions",
    "importing",
    "limit_memory",
    "machine_memory",
    "memory_limit_sentence",
    "peak_memory",
    "resident_memory",
    "sandbox_sentence",
    "temporary_folder",
    "trim_malloc",
]
