"""The same analyses from Python, in four names: `load`, `detect`, `compare`, `evaluate`.

Without an engine each call starts worker processes and stops them again (about half a second); give one to keep the
models warm over several calls.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path

from qviz.analysis.comparison import Comparison, compare_variant, with_remarks
from qviz.analysis.detecting import detect_images
from qviz.analysis.evaluation import Evaluation
from qviz.analysis.evaluation import evaluate as evaluate_models
from qviz.analysis.layer_error import LayerErrors, layer_errors
from qviz.analysis.lint import lint_all
from qviz.analysis.models import LoadedModel, load_models, read_source
from qviz.analysis.settings_guess import IMAGES as GUESS_IMAGES
from qviz.analysis.settings_guess import a_few, guess_all
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import find_images, load_images
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.engine import Engine, LocalEngine, importing
from qviz.errors import DatasetError, ImageError
from qviz.progress import OnProgress, silent
from qviz.structures import Detections, EncodedImage, Settings

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


def detect(
    models: Sequence[LoadedModel],
    images: Iterable[PathIn],
    engine: Engine | None = None,
    score: float = PAGE_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
) -> dict[str, dict[str, Detections]]:
    """model name -> image name -> detections of at least `score`. Raises ImageError where no image can be read."""
    paths = find_images(Path(path) for path in images)
    with engine_or_own(engine) as running:
        models = guess_all(running, models, first_images(paths))
        found = detect_images(running, models, load_images(paths), len(paths), score, on_progress, threads)
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    return {
        model.name: {
            name: found.inferences[model.digest, digest].detections
            for name, (_, digest) in zip(_told_apart([name for name, _ in found.images]), found.images, strict=True)
            if (model.digest, digest) in found.inferences
        }
        for model in models
    }


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, a number behind those that came before: two folders may hold the same one."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def compare(
    models: Sequence[LoadedModel],
    images: Iterable[PathIn],
    engine: Engine | None = None,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    on_progress: OnProgress = silent,
    threads: int = 1,
) -> Comparison:
    """Objects of the first model against each other one's. Raises ImageError where no image can be read."""
    paths = find_images(Path(path) for path in images)
    low = min(score, SEEN_FROM)
    with engine_or_own(engine) as running:
        models = guess_all(running, models, first_images(paths))
        found = detect_images(running, models, load_images(paths), len(paths), low, on_progress, threads)
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    reference, *variants = models
    compared = tuple(
        compare_variant(reference, variant, found.images, found.inferences, score, iou) for variant in variants
    )
    remarks = lint_all(models)
    return with_remarks(Comparison(reference.name, compared), [r.to_json() for r in remarks], found.skipped)


def first_images(paths: Sequence[Path]) -> list[EncodedImage]:
    """The few images that unknown settings are guessed on."""
    return list(islice(load_images(a_few(paths)), GUESS_IMAGES))


SEEN_FROM = 0.05
"""Detections are asked for from here on, below the score threshold, so that a lost object can be said to score less."""


def layers(
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[PathIn],
    engine: Engine | None = None,
    local_inputs: str = "reference",
    on_progress: OnProgress = silent,
) -> LayerErrors:
    """Error of every layer of a variant, local and cumulative. Raises ImageError, ModelError, WorkerError."""
    paths = find_images(Path(path) for path in images)
    with engine_or_own(engine) as running:
        first, second = guess_all(running, [reference, variant], first_images(paths))
        return layer_errors(running, first, second, list(load_images(paths)), local_inputs, on_progress)


def evaluate(
    models: Sequence[LoadedModel],
    dataset: PathIn,
    images: PathIn | None = None,
    engine: Engine | None = None,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
) -> Evaluation:
    """AP and its loss on COCO annotations (`images` is their folder) or a TFRecord file. Raises DatasetError."""
    folder = Path(images) if images is not None else None
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; give the one that holds the annotated images.")
    annotated = read_dataset(Path(dataset), folder)
    with engine_or_own(engine) as running:
        return evaluate_models(running, models, annotated, score, on_progress, threads)
