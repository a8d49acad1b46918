"""Limits on sizes, times and memory: those of `qviz/limits.toml`, which an administrator's file can override.

The environment variable `QVIZ_LIMITS` names that file. Each limit is enforced on the server, where the bytes arrive.
Limits that belong to a file format (how deep XML may nest, how long a label file may be) are in the reader of that
format. 1 MB is 2**20 bytes.
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

DEFAULTS = Path(__file__).with_suffix(".toml")
VARIABLE = "QVIZ_LIMITS"
MAX_VALUE = 1_000_000_000
BOUNDS = {
    "image_megapixels": (1, 89),
    "job_memory_mb": (512, MAX_VALUE),
    "training_memory_mb": (512, MAX_VALUE),
    "answers_mb": (64, MAX_VALUE),
}
"""Allowed ranges that differ from 1..`MAX_VALUE`. Pillow refuses more than 89 megapixels, and a worker with its
libraries takes 300 MB."""
FOLDER = "images_folder"
"""The only limit whose value is a string."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits, which `limits.toml` explains one by one. Names with `_mb` are in units of 2**20 bytes.

    All limits are whole numbers except `images_folder`: the path of a folder on the server's machine, or empty.
    """

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
    images_folder: str
    project_mb: int
    projects_mb: int
    store_mb: int
    answers_mb: int
    shared_models_mb: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def limits() -> Limits:
    """The limits in force. Each file is read once.

    Raises:
        SettingsError: The administrator's file does not exist or is not valid.
    """
    path = os.environ.get(VARIABLE, "")
    return _overridden(_defaults(), Path(path)) if path else _defaults()


@lru_cache(maxsize=1)
def _defaults() -> Limits:
    return Limits(**_checked(DEFAULTS))


@lru_cache(maxsize=8)
def _overridden(defaults: Limits, path: Path) -> Limits:
    return replace(defaults, **_checked(path))


def _checked(path: Path) -> dict[str, Any]:
    """The limits that a file sets, by name. Raises SettingsError."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}, which {VARIABLE} names, cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file ({error}); a line is like: job_seconds = 60") from error
    for name, value in values.items():
        _check(path, name, value)
    return values


def _check(path: Path, name: str, value: Any) -> None:
    names = [field.name for field in fields(Limits)]
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"limits are {', '.join(names)}."
        raise SettingsError(f"{path} sets {name[:60]!r}, which is not a limit; {hint}")
    if name == FOLDER:
        if not isinstance(value, str) or (value and not Path(value).is_absolute()):
            raise SettingsError(
                f'{path} sets {name} to {str(value)[:60]!r}; a folder in quotes is expected, such as "/srv/photos".'
            )
        return
    low, high = BOUNDS.get(name, (1, MAX_VALUE))
    if type(value) is not int or not low <= value <= high:
        raise SettingsError(
            f"{path} sets {name} to {str(value)[:60]!r}; a whole number from {low} to {high:,} is expected."
        )
