"""What a study may hold beside its comparison, where somebody asks for it: a sweep of light, latency and trade-off."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

from qviz.analysis.corruption_choice import USUAL, named
from qviz.analysis.models import LoadedModel
from qviz.analysis.profile import profile
from qviz.analysis.study import Study
from qviz.analysis.sweep import sweep
from qviz.analysis.tradeoff import Point, Tradeoff, tradeoff
from qviz.engine import Engine
from qviz.errors import SettingsError
from qviz.progress import OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage

EXTRAS = ("robustness", "tradeoff")
"""Sections that are made only where they are named: they take minutes."""
SWEPT = 48
"""Images, spread evenly, that the sweep runs on."""
RUNS = 50


def check_extras(also: Collection[str]) -> None:
    """Before any work. Raises SettingsError."""
    for name in also:
        if name not in EXTRAS:
            raise SettingsError(f"{name!r} cannot be added to a report; choose some of {', '.join(EXTRAS)}.")


def with_extras(
    engine: Engine,
    study: Study,
    models: Sequence[LoadedModel],
    images: Sequence[DatasetImage],
    dataset: Dataset | None,
    also: Collection[str],
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
) -> Study:
    """The study with these extras: the sweep in AP where there is a dataset, else in agreement on the images.

    Raises Cancelled, DatasetError, SettingsError, WorkerError.
    """
    check_extras(also)
    if "robustness" in also:
        data = dataset or Dataset("images", tuple(images), ())
        few = replace(data, images=tuple(_spread(data.images, SWEPT)))
        swept = sweep(
            engine, models, few, named([USUAL]), on_progress=on_progress, threads=threads, store=store, cancel=cancel
        )
        study = replace(study, robustness=swept)
    if "tradeoff" in also:
        measured = profile(engine, models, (threads,), RUNS, on_progress)
        study = replace(study, profile=measured)
    return study


def _spread(images: Sequence[DatasetImage], most: int) -> Sequence[DatasetImage]:
    if len(images) <= most:
        return images
    return [images[i * len(images) // most] for i in range(most)]


def weighed(study: Study) -> Tradeoff:
    """Size against latency against AP, or agreement where AP is not known, of the models that were measured."""
    assert study.profile is not None, "without a measurement there is no trade-off"
    measured = {row.digest: row for row in study.profile.models}
    annotated = study.evaluation is not None
    quality = _accuracy(study) if annotated else _agreement(study)
    kind = "AP" if annotated else "agreement"
    return tradeoff(
        [
            Point(model.name, model.bytes, measured[model.sha256].p50_ms, quality[model.name], kind)
            for model in study.models
            if model.sha256 in measured
        ]
    )


def _accuracy(study: Study) -> dict[str, float | None]:
    found = study.evaluation.models if study.evaluation is not None else ()
    return {model.name: row.ap for model, row in zip(study.models, found, strict=True)}


def _agreement(study: Study) -> dict[str, float | None]:
    own: dict[str, float | None] = {study.reference.name: 1.0}
    return own | {name: row.agreement for name, row in study.summaries.items()}
