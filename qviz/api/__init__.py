"""The same analyses from Python: one function a question.

Without an engine each call starts worker processes and stops them again (about half a second); give one to keep the
models warm over several calls. Each function is loaded on first use, so that one command imports one analysis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qviz.api.meeting import open_study, report, report_of, save_study
    from qviz.api.session import engine_or_own, first_images, load

_HOMES = {
    "engine_or_own": "session",
    "first_images": "session",
    "load": "session",
    "open_study": "meeting",
    "report": "meeting",
    "report_of": "meeting",
    "save_study": "meeting",
}

__all__ = [
    "engine_or_own",
    "first_images",
    "load",
    "open_study",
    "report",
    "report_of",
    "save_study",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qviz.api' has no attribute {name!r}")
    return getattr(import_module(f"qviz.api.{_HOMES[name]}"), name)
