"""A training on disk: every variable of the student and of its optimizer, and the loss of every step so far.

An .npz file of plain arrays, never unpickled, written beside and renamed, so that a kill leaves the last one whole. It
names the training it belongs to by digest: nothing else goes on from it.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qviz.errors import QuantizeError


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """losses: (steps done,); variables: in the trainer's order."""

    losses: tuple[float, ...]
    variables: tuple[np.ndarray, ...]


def save(path: Path, training: str, losses: Sequence[float], variables: Sequence[np.ndarray]) -> None:
    """training: the plan's digest. Raises QuantizeError where the file cannot be written."""
    part = _part(path)
    arrays: dict[str, Any] = {f"variable_{number}": values for number, values in enumerate(variables)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, training=np.array(training), losses=np.array(losses, np.float64), **arrays)
        part.replace(path)
    except OSError as error:
        raise QuantizeError(f"The checkpoint {path} cannot be written ({error.strerror}); free some space.") from error


def load(path: Path, training: str) -> Checkpoint | None:
    """None where there is none. Raises QuantizeError where it is damaged or belongs to another training."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            found, losses = str(held["training"]), tuple(float(loss) for loss in held["losses"])
            count = sum(name.startswith("variable_") for name in held.files)
            variables = tuple(held[f"variable_{number}"] for number in range(count)) if found == training else ()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise QuantizeError(f"The checkpoint {path} is damaged ({error}); remove it to start anew.") from error
    if found != training:
        raise QuantizeError(
            f"The checkpoint {path} belongs to another training (other model, images, recipe or steps). Ask for that"
            " one again to finish it, remove the file, or write the result elsewhere."
        )
    return Checkpoint(losses, variables)


def forget(path: Path) -> None:
    """Once the result is safe."""
    for left in (path, _part(path)):
        with contextlib.suppress(OSError):
            left.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """While it is written."""
    return path.with_name(f"{path.name}.part")
