"""Quantization-aware training: a variant that was taught by FP32 on images without labels, and what that gained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from qviz.api.building import source_of
from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.files import load_images
from qviz.engine import Engine
from qviz.errors import Cancelled
from qviz.features.building import calibrate, recipe_of
from qviz.features.detection.models import LoadedModel, load_model, read_source
from qviz.features.settings import a_few, guess_all
from qviz.features.training import QatResult, gain_of, split
from qviz.features.training.plan import STEPS, plan_for
from qviz.features.training.train import train
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Settings

Phase = Callable[[str], None]
"""Called with what is done next."""


@dataclass(frozen=True, slots=True, eq=False)
class Hooks:
    """Who looks on, and how it is stopped. losses: of every step so far; phase: what is done next, in words."""

    losses: Callable[[tuple[float, ...]], None] = lambda losses: None
    phase: Phase = lambda words: None
    progress: OnProgress = silent
    stop: Event | None = None
    cancel: Event | None = None


def qat(
    source: PathIn,
    images: Iterable[PathIn],
    recipe: str = "int8",
    steps: int = STEPS,
    checkpoint: PathIn | None = None,
    engine: Engine | None = None,
    settings: Settings = Settings(),
    hooks: Hooks = Hooks(),
) -> QatResult:
    """Train a float32 .tflite file, a SavedModel or a Keras file for a recipe.

    images: images, folders or zip archives of them, without labels; one in five is held out to measure the gain.
    checkpoint: a file that is kept up to date and gone on from; it is left for the caller to remove. The variant is
    `result.trained.trained.data`. Raises ImageError, ModelError, QuantizeError, SettingsError, WorkerError.
    """
    recipe_of(recipe)
    loaded = list(load_images(Path(path) for path in images))
    with engine_or_own(engine) as running, tempfile.TemporaryDirectory(prefix="qviz-") as folder:
        model = load_model(running, read_source(Path(source), settings))
        (model,) = guess_all(running, [model], a_few(loaded))
        kept = Path(checkpoint) if checkpoint is not None else Path(folder) / "checkpoint.npz"
        return trained(running, model, loaded, recipe, steps, kept, hooks)


def trained(
    engine: Engine,
    model: LoadedModel,
    images: Sequence[EncodedImage],
    recipe: str,
    steps: int,
    checkpoint: Path,
    hooks: Hooks = Hooks(),
) -> QatResult:
    """As `qat`, of a model that is loaded. Raises also Cancelled."""
    source, row = source_of(model), recipe_of(recipe)
    plan = plan_for(source.graph, row, steps)
    used, held_out = split(images)
    calibration = None
    if row.needs_calibration:
        hooks.phase("Measuring ranges")
        shared = engine.share(source.float_data, source.float_digest)
        calibration, _ = calibrate(engine, shared, source.settings, used, "minmax", hooks.progress, len(used))
    hooks.phase("Training")
    found = train(source, used, plan, calibration, checkpoint, hooks.losses, hooks.stop, hooks.cancel)
    hooks.phase("Measuring what it gained")
    if hooks.cancel is not None and hooks.cancel.is_set():
        raise Cancelled("The training was stopped before its gain was measured.")
    return QatResult(found, gain_of(engine, model, found, held_out, hooks.progress), len(used))
