"""qviz: what quantization does to a TensorFlow object detector.

    import qviz
    with qviz.LocalEngine() as engine:
        models = qviz.load(["float32.tflite", "int8.tflite"], engine)
        result = qviz.compare(models, ["street.jpg"], engine)
    result.to_frame()

Each name is loaded on first use, so that importing one room never imports them all. `qviz.features.building` is a room;
the function that builds a variant is `qviz.api.quantize`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from qviz.api import (
        calibration,
        compare,
        detect,
        evaluate,
        layers,
        load,
        profile,
        report,
        rescue,
        robustness,
        trace,
        what_if,
    )
    from qviz.engine import LocalEngine
    from qviz.errors import QvizError
    from qviz.structures import Detections, GroundTruth, Image, Model, Scheme, Settings

_HOMES = {
    "calibration": "qviz.api",
    "compare": "qviz.api",
    "detect": "qviz.api",
    "evaluate": "qviz.api",
    "layers": "qviz.api",
    "load": "qviz.api",
    "profile": "qviz.api",
    "report": "qviz.api",
    "rescue": "qviz.api",
    "robustness": "qviz.api",
    "trace": "qviz.api",
    "what_if": "qviz.api",
    "LocalEngine": "qviz.engine",
    "QvizError": "qviz.errors",
    "Detections": "qviz.structures",
    "GroundTruth": "qviz.structures",
    "Image": "qviz.structures",
    "Model": "qviz.structures",
    "Scheme": "qviz.structures",
    "Settings": "qviz.structures",
}

__all__ = [
    "Detections",
    "GroundTruth",
    "Image",
    "LocalEngine",
    "Model",
    "QvizError",
    "Scheme",
    "Settings",
    "__version__",
    "calibration",
    "compare",
    "detect",
    "evaluate",
    "layers",
    "load",
    "profile",
    "report",
    "rescue",
    "robustness",
    "trace",
    "what_if",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qviz' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
