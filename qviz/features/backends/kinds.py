"""The backends that can run a .tflite file, their precision, and whether they are installed on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qviz import optional
from qviz.errors import SettingsError

AS_IN_THE_FILE = "integers as in the file, float32 elsewhere"


@dataclass(frozen=True, slots=True)
class Kind:
    """A backend. part: the optional part of qviz that it needs; empty if none."""

    title: str
    precision: str
    part: str = ""


KINDS = {
    "xnnpack": Kind("XNNPACK", AS_IN_THE_FILE),
    "builtin": Kind("LiteRT's own kernels", AS_IN_THE_FILE),
    "reference": Kind("Reference kernels", AS_IN_THE_FILE),
    "gpu": Kind("GPU delegate", "float32, also for integers; phones use float16 by default"),
    "micro": Kind("TensorFlow Lite Micro", AS_IN_THE_FILE, "micro"),
}
"""Name -> backend, in the order in which they run. All others are compared with the first one that runs the model."""


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, in the given order; all backends if `names` is empty.

    Raises SettingsError for an unknown name.
    """
    if unknown := [name for name in names if name not in KINDS]:
        raise SettingsError(f"{unknown[0][:60]!r} is not a backend; choose from {', '.join(KINDS)}.")
    return tuple(dict.fromkeys(names)) or tuple(KINDS)


def missing(name: str) -> str:
    """A sentence that says what to install for a backend; empty if nothing is missing."""
    part = KINDS[name].part
    if not part or optional.is_installed(part):
        return ""
    return f"{KINDS[name].title} is not installed: {optional.install_command(part)}."
