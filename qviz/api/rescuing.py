"""The smallest or fastest variant that keeps a budget, from paths."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from qviz.api.building import source_of
from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.annotated import read_dataset
from qviz.datasets.files import find_images, load_images, unannotated
from qviz.detector import AP_SCORE
from qviz.engine import Engine
from qviz.errors import DatasetError
from qviz.features.building import builders
from qviz.features.detection.models import load_model, read_source
from qviz.features.rescuing import Terms, silent_step
from qviz.features.rescuing import rescue as run_rescue
from qviz.features.rescuing.result import SIZE, Budget, Rescue
from qviz.features.rescuing.search import TRIES
from qviz.features.rescuing.sets import OnStep
from qviz.features.settings import a_few, guess_all
from qviz.store import Store
from qviz.structures import Dataset, Settings


def rescue(
    reference: PathIn,
    calibration: Iterable[PathIn],
    dataset: PathIn | None,
    images: Sequence[PathIn] = (),
    max_ap_loss: float | None = None,
    min_agreement: float | None = None,
    engine: Engine | None = None,
    prefer: str = SIZE,
    recipes: Sequence[str] = (),
    tries: int = TRIES,
    settings: Settings = Settings(),
    score: float = AP_SCORE,
    threads: int = 1,
    store: Store | None = None,
    folder: Path | None = None,
    cancel: threading.Event | None = None,
    on_step: OnStep = silent_step,
    watch: Callable[[Rescue], object] = lambda found: None,
) -> Rescue:
    """What `qviz.features.rescuing.rescue` finds; the file is `found.data`.

    calibration: images, folders or zip archives of them. dataset: see `read_dataset`, images then its folder; where
    nothing is annotated None, images to measure agreement on, and `min_agreement` for a budget. Raises what
    `rescue_run.rescue` does.
    """
    terms = Terms(Budget.of(max_ap_loss, min_agreement), prefer, recipes, tries, score, threads)
    shown = list(load_images(Path(path) for path in calibration))
    data = _data(dataset, [Path(path) for path in images])
    with engine_or_own(engine) as running, builders() as workers:
        given = read_source(Path(reference), settings)
        model = load_model(running, given)
        if shown and model.layers_available:
            (model,) = guess_all(running, [model], a_few(shown))
        return run_rescue(
            running, workers, model, source_of(model, given), shown, data, terms, store, folder, cancel, on_step, watch
        )


def _data(dataset: PathIn | None, images: Sequence[Path]) -> Dataset:
    if dataset is None:
        if not images:
            raise DatasetError("Neither a dataset nor images are given; candidates are measured on one of them.")
        return unannotated(images[0], find_images(images))
    if len(images) > 1 or any(not folder.is_dir() for folder in images):
        raise DatasetError("With a dataset, images are the one folder that holds its images; give that, or none.")
    return read_dataset(Path(dataset), images[0] if images else None)
