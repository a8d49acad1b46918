"""Optional parts of qviz, which need further packages: what each part is for, and the command that installs it.

The base installation can inspect, compare, evaluate and report, and has the dashboard. If a missing part is needed, the
error names the part and its install command:

    pip install "qviz-tflite[build]"
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from qviz.errors import InputError
from qviz.formatting import listed

DISTRIBUTION = "qviz-tflite"
"""The name of qviz for pip; the module and the command are called `qviz`."""


@dataclass(frozen=True, slots=True)
class Part:
    """An optional part.

    Attributes:
        modules: All top-level modules that it needs.
        purpose: What it makes possible.
    """

    modules: tuple[str, ...]
    purpose: str


PARTS = {
    "build": Part(("tensorflow", "tf_keras", "litert_quantizer"), "quantize, rescue, qat; SavedModel, .keras, .h5"),
    "cluster": Part(("distributed",), "workers of a Dask cluster (--workers tcp://HOST:PORT)"),
    "onnx": Part(("onnxruntime",), "an ONNX file as the reference"),
    "micro": Part(("tflite_micro",), "the kernels of TensorFlow Lite Micro"),
    "hub": Part(("h5py",), "outputs in an .h5 file of Qualcomm AI Hub"),
    "vela": Part(("ethosu",), "cycles and memory on an Arm Ethos-U (profile --npu)"),
    "heic": Part(("pillow_heif",), "HEIC images"),
}
"""Name of the extra in pyproject.toml -> the part."""


def is_installed(name: str) -> bool:
    """Whether all modules of a part are installed; they are not imported."""
    return not missing_modules(name)


def missing_modules(name: str) -> tuple[str, ...]:
    """The modules of a part that are not installed."""
    return tuple(module for module in PARTS[name].modules if find_spec(module) is None)


def require(name: str, work: str) -> None:
    """Raise InputError if a part is not installed. work: what needs the part, as the beginning of the message.

    Example:
        >>> require("build", "Quantizing a model")
        Traceback (most recent call last):
        InputError: Quantizing a model needs tensorflow, which is not installed: pip install "qviz-tflite[build]"
    """
    if missing := missing_modules(name):
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{work} needs {listed(missing)}, which {verb} not installed: {install_command(name)}")


def install_command(name: str) -> str:
    """The command that installs an optional part (an extra).

    Example:
        >>> install_command("onnx")
        'pip install "qviz-tflite[onnx]"'
    """
    return f'pip install "{DISTRIBUTION}[{name}]"'
