"""Which code this is: what tells whether another process, now or tomorrow, would compute the same."""

from __future__ import annotations

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("ai-edge-litert", "numpy", "opencv-python-headless", "opencv-python", "pillow")
"""Those whose version may change a detection."""
OTHER_CODE = (
    "A worker of the cluster runs another version of qviz or of its libraries than this process, or on another kind of"
    " processor; install the same on both."
)
JOBS = (
    "corruptions",
    "datasets",
    "decoders",
    "detector",
    "engine",
    "errors",
    "features",
    "structures",
    "tensorflow_models",
    "tflite",
)
"""The rooms whose code runs in workers."""
_HOME = Path(__file__).resolve().parents[1]


@lru_cache
def code_digest(*rooms: str) -> str:
    """sha256 of the source of these rooms (of `JOBS` where none is named) and of the versions below it.

    The kind of processor is part of it: kernels of another one round otherwise.
    """
    digest = hashlib.sha256("\n".join([platform.machine(), *(_version(name) for name in PACKAGES)]).encode())
    for path in sorted(path for room in rooms or JOBS for path in _files(room)):
        digest.update(f"\n{path.relative_to(_HOME).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _files(room: str) -> list[Path]:
    """A room is a module or a package."""
    return [*_HOME.glob(f"{room}.py"), *_HOME.glob(f"{room}/**/*.py")]


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} none"
