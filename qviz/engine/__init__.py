"""Where work runs: worker processes on this machine (`LocalEngine`), or those of a Dask cluster (`DaskEngine`, in
`qviz.engine.cluster`). Both are an `Engine`; whoever analyses need not know which.
"""

from qviz.engine.interface import Blob, Engine, WarmUp, importing
from qviz.engine.local import LocalEngine
from qviz.engine.memory import give_back_large_blocks, let_go_of_the_past

__all__ = [
    "Blob",
    "Engine",
    "LocalEngine",
    "WarmUp",
    "give_back_large_blocks",
    "importing",
    "let_go_of_the_past",
]
