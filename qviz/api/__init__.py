"""The same analyses from Python: one function a question.

Without an engine each call starts worker processes and stops them again (about half a second); give one to keep the
models warm over several calls. Each function is loaded on first use, so that one command imports one analysis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qviz.api.cost import profile
    from qviz.api.diagnosis import layers, noise_budget, trace, what_if
    from qviz.api.meeting import open_study, report, report_of, save_study
    from qviz.api.session import engine_or_own, first_images, load

_HOMES = {
    "engine_or_own": "session",
    "first_images": "session",
    "layers": "diagnosis",
    "load": "session",
    "noise_budget": "diagnosis",
    "open_study": "meeting",
    "profile": "cost",
    "report": "meeting",
    "report_of": "meeting",
    "save_study": "meeting",
    "trace": "diagnosis",
    "what_if": "diagnosis",
}

__all__ = [
    "engine_or_own",
    "first_images",
    "layers",
    "load",
    "noise_budget",
    "open_study",
    "profile",
    "report",
    "report_of",
    "save_study",
    "trace",
    "what_if",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qviz.api' has no attribute {name!r}")
    return getattr(import_module(f"qviz.api.{_HOMES[name]}"), name)
