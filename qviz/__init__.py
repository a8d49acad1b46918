"""qviz: what quantization does to a TensorFlow object detector.

    import qviz
    with qviz.open("float32.tflite", "int8.tflite", images="photos/") as session:
        print(session.compare())

Every analysis is a method of the session. It is also a top-level function, which opens a session for that one call:
`qviz.compare("float32.tflite", "int8.tflite", images="photos/")`. Names are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "LocalEngine": "qviz.engine",
    **dict.fromkeys(("dataset", "device_pack", "device_read", "device_run"), "qviz.top_level"),
    "QvizError": "qviz.errors",
    "Session": "qviz.session",
    **dict.fromkeys(("card", "doctor", "load"), "qviz.top_level"),
    "open": "qviz.session",
    **dict.fromkeys(("Detections", "GroundTruth", "Image", "Model", "Scheme", "Settings"), "qviz.structures"),
}
_ANALYSES = (
    *(
        "backends",
        "calibration",
        "compare",
        "detect",
        "diagnose",
        "evaluate",
        "export",
        "info",
        "layers",
        "noise_budget",
        "npu_cost",
        "profile",
        "qat",
        "quantize",
    ),
    *("recorded_layers", "report", "rescue", "risk", "robustness", "trace", "video", "what_if"),
)

__all__ = sorted([*_HOMES, *_ANALYSES, "__version__"])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _ANALYSES:
        return import_module("qviz.top_level").top_level(name)
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'qviz' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
