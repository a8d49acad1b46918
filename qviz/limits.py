"""What qviz takes in and may spend: `qviz/limits.toml`, with an administrator's file over it (`QVIZ_LIMITS=file`).

The one place that knows these numbers; each is enforced where the bytes arrive, on the server. Bounds that belong to a
file format (how deep XML may nest, how long a label file is) stay with its reader. MB are 2**20 bytes.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from qviz.errors import SettingsError

OWN = Path(__file__).with_suffix(".toml")
VARIABLE = "QVIZ_LIMITS"
MOST = 1_000_000_000
BOUNDS = {
    "image_megapixels": (1, 89),
    "job_memory_mb": (512, MOST),
    "training_memory_mb": (512, MOST),
    "answers_mb": (64, MOST),
}
"""Where 1 and `MOST` do not do: Pillow stops at 89 megapixels, and a worker with its libraries takes 300 MB."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Whole numbers, as `limits.toml` explains them; `_mb` in units of 2**20 bytes."""

    upload_mb: int
    model_mb: int
    image_mb: int
    image_megapixels: int
    annotations_mb: int
    archive_mb: int
    archive_images: int
    archive_files: int
    job_seconds: int
    job_memory_mb: int
    build_seconds: int
    training_memory_mb: int
    session_models: int
    session_images: int
    session_images_mb: int
    store_mb: int
    answers_mb: int
    shared_models_mb: int

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def limits() -> Limits:
    """The limits in force. Raises SettingsError for an administrator's file that is not there or says what it cannot.

    A file is read once; another name in `QVIZ_LIMITS` is another file.
    """
    said = os.environ.get(VARIABLE, "")
    return _over(_own(), Path(said)) if said else _own()


@lru_cache(maxsize=1)
def _own() -> Limits:
    return Limits(**_checked(OWN))


@lru_cache(maxsize=8)
def _over(own: Limits, path: Path) -> Limits:
    return replace(own, **_checked(path))


def _checked(path: Path) -> dict[str, int]:
    """What a file says, each value a whole number within its bounds."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}, which {VARIABLE} names, cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no TOML file ({error}); a line is like: job_seconds = 60") from error
    for name, value in said.items():
        _check(path, name, value)
    return said


def _check(path: Path, name: str, value: Any) -> None:
    known = [field.name for field in fields(Limits)]
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}."
        raise SettingsError(f"{path} sets {name[:60]!r}, which is no limit; {hint}")
    low, high = BOUNDS.get(name, (1, MOST))
    if type(value) is not int or not low <= value <= high:
        raise SettingsError(
            f"{path} sets {name} to {str(value)[:60]!r}; a whole number from {low} to {high:,} is expected."
        )
