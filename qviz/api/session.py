"""What every call starts with: worker processes, models, a few images to guess unknown settings on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path

from qviz.datasets.files import load_images
from qviz.engine import Engine, LocalEngine, importing
from qviz.features.detection.models import LoadedModel, load_models, read_source
from qviz.features.settings import IMAGES as GUESS_IMAGES
from qviz.features.settings import a_few
from qviz.structures import EncodedImage, Settings

PathIn = str | PathLike[str]


@contextlib.contextmanager
def engine_or_own(engine: Engine | None) -> Iterator[Engine]:
    """The engine given, or one for the time of a call."""
    if engine is not None:
        yield engine
        return
    with LocalEngine(warm_up=importing("qviz.detector")) as own:
        yield own


def load(paths: Iterable[PathIn], engine: Engine, settings: Settings = Settings()) -> list[LoadedModel]:
    """Models from .tflite files, the first taken as the reference. Raises ModelError, SettingsError, WorkerError."""
    return load_models(engine, [read_source(Path(path), settings) for path in paths])


def first_images(paths: Sequence[Path]) -> list[EncodedImage]:
    """The few images that unknown settings are guessed on."""
    return list(islice(load_images(a_few(paths)), GUESS_IMAGES))
