"""`MODEL.tflite.qviz.json`: the settings that one model needs, beside it.

{"mean": 127.5, "std": 127.5, "channels": "rgb", "resize": "stretch", "labels": "labels.txt"}; labels may also be a
list of names. A path in `labels` is followed only where the file was found on this machine, never for an upload.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qviz.datasets.labels import read_labels
from qviz.errors import SettingsError
from qviz.structures import Settings

SUFFIX = ".qviz.json"
MAX_SIDECAR = 1 << 20


def read_sidecar(model: Path) -> Settings:
    """The settings beside a model file, or none. Raises SettingsError, LabelsError."""
    path = model.with_name(model.name + SUFFIX)
    if not path.is_file():
        return Settings()
    said = parse_json(path.read_bytes(), path.name)
    if isinstance(said, dict) and isinstance(said.get("labels"), str):
        said = {**said, "labels": read_labels(path.parent / said["labels"])}
    return Settings.from_json(said, path.name)


def parse_sidecar(data: bytes, name: str) -> Settings:
    """The settings of an uploaded sidecar; a labels path is left out, as its file is not here."""
    said = parse_json(data, name)
    if isinstance(said, dict) and isinstance(said.get("labels"), str):
        said = {key: value for key, value in said.items() if key != "labels"}
    return Settings.from_json(said, name)


def parse_json(data: bytes, name: str) -> Any:
    """JSON of a bounded size. Raises SettingsError."""
    if len(data) > MAX_SIDECAR:
        raise SettingsError(f"{name} has {len(data) >> 10} KB; a settings file is a few lines of JSON.")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{name} is not valid JSON ({error}).") from error
