"""The same analyses from Python, in four names: `load`, `detect`, `compare`, `evaluate`.

Without an engine each call starts worker processes and stops them again (about half a second); give one to keep the
models warm over several calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

from qviz.analysis.comparison import Comparison, compare_variant, with_remarks
from qviz.analysis.detecting import detect_images
from qviz.analysis.evaluation import Evaluation
from qviz.analysis.evaluation import evaluate as evaluate_models
from qviz.analysis.lint import lint_comparison, lint_model
from qviz.analysis.models import LoadedModel, load_models, read_source
from qviz.datasets.coco import read_coco
from qviz.datasets.files import find_images, load_images
from qviz.detector import AP_SCORE, PAGE_SCORE, warm_up
from qviz.engine import Engine, LocalEngine
from qviz.errors import DatasetError, ImageError
from qviz.progress import OnProgress, silent
from qviz.structures import Detections, Settings

PathIn = str | PathLike[str]


@contextlib.contextmanager
def engine_or_own(engine: Engine | None) -> Iterator[Engine]:
    """The engine given, or one for the time of a call."""
    if engine is not None:
        yield engine
        return
    with LocalEngine(warm_up=warm_up) as own:
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
        found = detect_images(running, models, load_images(paths), len(paths), score, on_progress, threads)
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    return {
        model.name: {
            name: found.inferences[model.digest, digest].detections
            for name, digest in found.images
            if (model.digest, digest) in found.inferences
        }
        for model in models
    }


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
        found = detect_images(running, models, load_images(paths), len(paths), low, on_progress, threads)
    if not found.images:
        raise ImageError(" ".join(found.skipped[:3]))
    reference, *variants = models
    compared = tuple(
        compare_variant(reference, variant, found.images, found.inferences, score, iou) for variant in variants
    )
    remarks = [warning for model in models for warning in lint_model(model)] + lint_comparison(reference, variants)
    return with_remarks(Comparison(reference.name, compared), [r.to_json() for r in remarks], found.skipped)


SEEN_FROM = 0.05
"""Detections are asked for from here on, below the score threshold, so that a lost object can be said to score less."""


def evaluate(
    models: Sequence[LoadedModel],
    dataset: PathIn,
    images: PathIn | None = None,
    engine: Engine | None = None,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
) -> Evaluation:
    """AP and its loss on a COCO annotation file; `images` is their folder. Raises DatasetError."""
    folder = Path(images) if images is not None else None
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; give the one that holds the annotated images.")
    annotated = read_coco(Path(dataset), folder)
    with engine_or_own(engine) as running:
        return evaluate_models(running, models, annotated, score, on_progress, threads)
