"""Where work runs: worker processes on this machine (`LocalEngine`), or those of a Dask cluster (`DaskEngine`, in
`qviz.engine.cluster`). Both are an `Engine`; whoever analyses need not know which.
"""

from qviz.engine.interface import Blob, Engine, WarmUp, importing
from qviz.engine.local import LocalEngine
from qviz.engine.memory import trim_malloc, free_closed_sessions

__all__ = [
    "Blob",
    "Engine",
    "LocalEngine",
    "WarmUp",
    "trim_malloc",
    "importing",
    "free_closed_sessions",
]
