"""The sidecar `MODEL.tflite.qviz.json`, a file beside a model that contains its settings. For example:

{"mean": 127.5, "std": 127.5, "channels": "rgb", "resize": "stretch", "labels": "labels.txt"}

`labels` may also be a list of names. A path in `labels` is read only for a file on this machine, never for an upload.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qviz.datasets.labels import read_labels, unnamed_background
from qviz.errors import SettingsError
from qviz.structures import Settings
from qviz.structures.json_document import NotJson, parse_json

SUFFIX = ".qviz.json"
MAX_SIDECAR = 1 << 20


def read_sidecar(model: Path) -> Settings:
    """The settings in the file beside a model; empty if there is none. Raises SettingsError, LabelsError."""
    path = model.with_name(model.name + SUFFIX)
    if not path.is_file():
        return Settings()
    settings = settings_json(path.read_bytes(), path.name)
    if isinstance(settings, dict) and isinstance(settings.get("labels"), str):
        settings = {**settings, "labels": read_labels(path.parent / settings["labels"])}
    return _settings(settings, path.name)


def parse_sidecar(data: bytes, name: str) -> Settings:
    """The settings in an uploaded file; a path in `labels` is ignored."""
    settings = settings_json(data, name)
    if isinstance(settings, dict) and isinstance(settings.get("labels"), str):
        settings = {key: value for key, value in settings.items() if key != "labels"}
    return _settings(settings, name)


def _settings(values: Any, name: str) -> Settings:
    settings = Settings.from_json(values, name)
    return settings if settings.labels is None else replace(settings, labels=unnamed_background(settings.labels))


def settings_json(data: bytes, name: str) -> Any:
    """Parse JSON of at most 1 MB. Raises SettingsError."""
    if len(data) > MAX_SIDECAR:
        raise SettingsError(f"{name} is {len(data) >> 10} KB; a settings file is a few lines of JSON.")
    try:
        return parse_json(data)
    except NotJson as error:
        raise SettingsError(f"{name} is not valid JSON: {error}.") from error
