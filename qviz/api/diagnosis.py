"""Layers: the error of each, what the kernels alone do, one object's trace, operators in float."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own, first_images
from qviz.datasets.files import find_images, load_images
from qviz.detector import PAGE_SCORE
from qviz.engine import Engine
from qviz.errors import ImageError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layer_errors
from qviz.features.layer_error.noise import NoiseBudget
from qviz.features.layer_error.noise import noise_budget as kernel_noise
from qviz.features.settings import guess_all
from qviz.features.tracing import Trace, trace_object
from qviz.features.what_if import WhatIf, what_if_float
from qviz.progress import OnProgress, silent


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
        return layer_errors(running, first, second, load_images(paths), local_inputs, on_progress, len(paths))


def noise_budget(
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[PathIn],
    engine: Engine | None = None,
    score: float = PAGE_SCORE,
    on_progress: OnProgress = silent,
) -> NoiseBudget:
    """What the choice of kernels alone does to a variant. Raises ImageError, ModelError, WorkerError."""
    paths = find_images(Path(path) for path in images)
    with engine_or_own(engine) as running:
        _, model = guess_all(running, [reference, variant], first_images(paths))
        return kernel_noise(running, model, load_images(paths), score=score, on_progress=on_progress)


def trace(
    reference: LoadedModel,
    variant: LoadedModel,
    image: PathIn,
    engine: Engine | None = None,
    object_number: int | None = None,
    quick: bool = False,
    score: float = PAGE_SCORE,
) -> Trace:
    """Where one object of one image loses its confidence: object number N of the reference's, from `score` on, by
    falling score; by default the one that fell most. Raises ImageError, ModelError, SettingsError, WorkerError."""
    paths = find_images([Path(image)])
    if len(paths) != 1:
        raise ImageError(f"{image} holds {len(paths)} images; a trace follows one object of one image.")
    with engine_or_own(engine) as running:
        (encoded,) = load_images(paths)
        first, second = guess_all(running, [reference, variant], [encoded])
        return trace_object(running, first, second, encoded, object_number, quick, score)


def what_if(
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[PathIn],
    engine: Engine | None = None,
    sets: Sequence[Iterable[int]] | None = None,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    on_progress: OnProgress = silent,
) -> WhatIf:
    """What comes back with sets of the variant's operators (by order) in float; without sets a search finds some.

    Raises ImageError, ModelError, SettingsError, WorkerError.
    """
    paths = find_images(Path(path) for path in images)
    wanted = [frozenset(orders) for orders in sets] if sets is not None else None
    with engine_or_own(engine) as running:
        first, second = guess_all(running, [reference, variant], first_images(paths))
        return what_if_float(running, first, second, list(load_images(paths)), wanted, score, iou, on_progress)
