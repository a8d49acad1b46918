"""A digest of the code that computes detections; processes with the same digest compute the same detections."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ai-edge-litert", "numpy", "opencv-python-headless", "opencv-python", "pillow")
"""Packages whose version may affect detections."""
OTHER_CODE = (
    "A worker of the cluster has another version of qviz or of its libraries than this process, or another kind of"
    " processor; install the same versions on both."
)
JOBS = (
    *("corruptions", "datasets", "decoders", "detector", "engine", "errors", "features", "structures"),
    *("tensorflow_models", "tflite"),
)
"""Packages and modules of qviz whose code runs in workers."""
_HOME = Path(__file__).resolve().parents[1]


@lru_cache
def code_digest(*names: str) -> str:
    """sha256 of the source of these packages and modules (by default `JOBS`) and of the versions of `PACKAGES`.

    The processor architecture is included, because kernels for different architectures round differently.
    """
    digest = hashlib.sha256("\n".join([platform.machine(), *(_version(package) for package in PACKAGES)]).encode())
    for path in sorted(path for name in names or JOBS for path in _files(name)):
        digest.update(f"\n{path.relative_to(_HOME).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(name: str) -> list[Path]:
    """The source files of a module or package of qviz."""
    return [*_HOME.glob(f"{name}.py"), *_HOME.glob(f"{name}/**/*.py")]


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} none"
