"""Parts of qviz that need packages which not everybody has: what each is for, and the command that installs it.

The base install inspects, compares, evaluates, reports and has the dashboard. What is missing is named where it is
needed, always with the same command.

    pip install "qviz-tflite[build]"
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from qviz.errors import InputError
from qviz.formatting import listed

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
    "heic": Part(("pillow_heif",), "HEIC images"),
}
"""Name of the extra in pyproject.toml -> the part."""


def is_installed(name: str) -> bool:
    """Whether all packages of a part are installed; they are not imported."""
    return not missing_modules(name)


def missing_modules(name: str) -> tuple[str, ...]:
    """The modules of a part that are not installed."""
    return tuple(module for module in PARTS[name].modules if find_spec(module) is None)


def require(name: str, work: str) -> None:
    """Check that a part is installed. work: what needs it, as the beginning of a sentence. Raises InputError.

    Example:
        >>> require("build", "Quantizing a model")
        Traceback (most recent call last):
        InputError: Quantizing a model needs tensorflow, which is not installed: pip install "qviz-tflite[build]"
    """
    if missing := missing_modules(name):
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{work} needs {listed(missing)}, which {verb} not installed: {install_command(name)}")


def install_command(name: str) -> str:
    """The command that installs a part.

    Example:
        >>> install_command("onnx")
        'pip install "qviz-tflite[onnx]"'
    """
    return f'pip install "{DISTRIBUTION}[{name}]"'
