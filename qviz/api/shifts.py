"""When a model breaks: corruptions of light and others, by severity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own
from qviz.corruptions import SEVERITIES, corruptions_named
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import find_images, unannotated
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError
from qviz.features.corruption_sweep import ALARM_IMAGES, RobustnessReport, report
from qviz.features.corruption_sweep.saturation import IMAGES
from qviz.features.detection.models import LoadedModel
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset


def robustness(
    models: Sequence[LoadedModel],
    dataset: PathIn | None = None,
    images: Iterable[PathIn] = (),
    corruptions: Sequence[str] = ("lighting",),
    severities: Sequence[int] = SEVERITIES,
    engine: Engine | None = None,
    score: float = AP_SCORE,
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    layer_images: int = IMAGES,
) -> RobustnessReport:
    """Models x corruptions (names or families) x severities, in AP on a dataset, in agreement on mere images.

    layer_images: on so many of them layers are looked at too. Raises DatasetError, ImageError, SettingsError.
    """
    chosen = corruptions_named(corruptions)
    data = _data(dataset, [Path(path) for path in images])
    with engine_or_own(engine) as running:
        return report(
            running, models, data, chosen, severities, score, on_progress, threads, store,
            layer_images=layer_images, alarm_images=ALARM_IMAGES if layer_images else 0,
        )  # fmt: skip


def _data(dataset: PathIn | None, images: Sequence[Path]) -> Dataset:
    if dataset is None:
        if not images:
            raise DatasetError("Neither a dataset nor images are given; a sweep needs one of them.")
        return unannotated(images[0], find_images(images))
    if len(images) > 1 or any(not folder.is_dir() for folder in images):
        raise DatasetError("With a dataset, images are the one folder that holds its images; give that, or none.")
    return read_dataset(Path(dataset), images[0] if images else None)
