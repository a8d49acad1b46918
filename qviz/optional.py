"""Parts of qviz that need packages which not everybody has: what each is for, and the command that installs it.

The base install inspects, compares, evaluates, reports and has the dashboard. What is missing is named where it is
needed, always with the same command.

    pip install "qviz-tflite[build]"
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

DISTRIBUTION = "qviz-tflite"
"""Its name for pip; the import and the command are `qviz`."""


@dataclass(frozen=True, slots=True)
class Part:
    """An optional part.

    Attributes:
        modules: Top-level modules that it needs, all of them.
        purpose: What it makes possible.
    """

    modules: tuple[str, ...]
    purpose: str


PARTS = {
    "build": Part(("tensorflow", "tf_keras", "litert_quantizer"), "quantize, rescue, qat; SavedModel, .keras, .h5"),
    "cluster": Part(("distributed",), "workers of a Dask cluster (--workers tcp://HOST:PORT)"),
    "onnx": Part(("onnxruntime",), "an ONNX file as the reference"),
    "micro": Part(("tflite_micro",), "the kernels of TensorFlow Lite Micro"),
    "vela": Part(("ethosu",), "estimates for Arm Ethos-U"),
    "heic": Part(("pillow_heif",), "HEIC images"),
}
"""Name of the extra in pyproject.toml -> the part."""


def is_installed(name: str) -> bool:
    """Whether all packages of a part are installed; they are not imported."""
    return not missing_modules(name)


def missing_modules(name: str) -> tuple[str, ...]:
    """The modules of a part that are not installed."""
    return tuple(module for module in PARTS[name].modules if find_spec(module) is None)


def install_command(name: str) -> str:
    """The command that installs a part.

    Example:
        >>> install_command("onnx")
        'pip install "qviz-tflite[onnx]"'
    """
    return f'pip install "{DISTRIBUTION}[{name}]"'
