"""The calibration lab: how many images, which ones, and what wrong ones cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from qviz.api.building import source_of
from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import load_images, unannotated_images
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError
from qviz.features.calibrating import Plan, calibration_lab
from qviz.features.calibrating.result import CalibrationLab
from qviz.features.detection.models import load_model, read_source
from qviz.features.settings import a_few, guess_all
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, EncodedImage, Settings

FEWEST = 4
"""Images of which half calibrate and half are judged."""


def calibration(
    source: PathIn,
    images: Iterable[PathIn],
    dataset: PathIn | None = None,
    dataset_images: PathIn | None = None,
    judge: Iterable[PathIn] = (),
    engine: Engine | None = None,
    plan: Plan = Plan(),
    settings: Settings = Settings(),
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
) -> CalibrationLab:
    """Calibrations of a float32 .tflite file, a SavedModel or a Keras file tried out.

    images: to calibrate with. Judged in AP on `dataset` (its images in `dataset_images` where they are not beside it);
    without one in agreement with the reference, on `judge`, or on half of the images, which then do not calibrate.
    Raises DatasetError, ImageError, ModelError, QuantizeError, SettingsError, WorkerError.
    """
    plan.check()
    given = list(load_images(Path(path) for path in images))
    if dataset is not None:
        data = read_dataset(Path(dataset), None if dataset_images is None else Path(dataset_images))
    else:
        given, data = _unannotated(given, [Path(path) for path in judge], plan.seed)
    with engine_or_own(engine) as running:
        said = read_source(Path(source), settings)
        model = load_model(running, said)
        if not model.refusal:
            (model,) = guess_all(running, [model], a_few(given))
        made = source_of(model, said)
        return calibration_lab(running, model, made, given, data, plan, score, on_progress, threads, store)


def _unannotated(
    images: Sequence[EncodedImage], judge: Sequence[Path], seed: int
) -> tuple[list[EncodedImage], Dataset]:
    """The images that calibrate, and those that are judged."""
    if judge:
        return list(images), unannotated_images(judge[0].name, list(load_images(judge)))
    return halves(images, seed)


def halves(images: Sequence[EncodedImage], seed: int) -> tuple[list[EncodedImage], Dataset]:
    """One half to calibrate with, the other to judge by: images that calibrated would flatter. Raises DatasetError."""
    if len(images) < FEWEST:
        raise DatasetError(
            f"Images calibrate on one half and are judged by the other: {len(images)} are too few; give at least"
            f" {FEWEST}, or annotated images."
        )
    order = np.random.default_rng(seed).permutation(len(images))
    first, second = sorted(order[::2]), sorted(order[1::2])
    return [images[i] for i in first], unannotated_images("the other half", [images[i] for i in second])
