"""Where work runs: worker processes on this machine (`LocalEngine`), or those of a Dask cluster (`DaskEngine`, in
`qviz.engine.cluster`). Both are an `Engine`; whoever analyses need not know which.
"""

from qviz.engine.interface import MEMORY_LIMIT, TIME_LIMIT, Blob, Engine, WarmUp, importing
from qviz.engine.local import LocalEngine

__all__ = ["MEMORY_LIMIT", "TIME_LIMIT", "Blob", "Engine", "LocalEngine", "WarmUp", "importing"]
