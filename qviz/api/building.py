"""A quantized variant: the model as float32, ranges from images where they are needed, then the builder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qviz.api.session import PathIn, engine_or_own
from qviz.datasets.files import load_images
from qviz.engine import Engine
from qviz.errors import QuantizeError
from qviz.features.building import (
    Builder,
    Built,
    Options,
    Source,
    builder_of,
    builders,
    calibrate,
    check,
    recipe_of,
    start_building,
)
from qviz.features.building.names import named_apart
from qviz.features.detection.models import LoadedModel, ModelSource, load_model, read_source
from qviz.features.settings import a_few, guess_all
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Settings


def quantize(
    source: PathIn,
    recipe: str,
    calibration: Iterable[PathIn] = (),
    engine: Engine | None = None,
    options: Options = Options(),
    method: str = "minmax",
    settings: Settings = Settings(),
    on_progress: OnProgress = silent,
) -> Built:
    """A variant of a float32 .tflite file, a SavedModel or a Keras file, as bytes: `Path(...).write_bytes(built.data)`.

    calibration: images, folders or zip archives of them; one that cannot be read is left out. method: how their ranges
    are summed up (`building.METHODS`). Raises ImageError, ModelError, QuantizeError, SettingsError, WorkerError.
    """
    row = recipe_of(recipe)
    images = list(load_images(Path(path) for path in calibration))
    with engine_or_own(engine) as running:
        given = float_source(running, read_source(Path(source), settings), images)
        check(row, named_apart(given.graph), options)
        with builders() as workers:  # they start while the ranges are measured
            ranges = None
            if needs_ranges(given, recipe, options, method, len(images)) and images:
                model = running.share(given.float_data, given.float_digest)
                ranges, _ = calibrate(running, model, given.settings, images, method, on_progress, len(images))
            return start_building(workers, given, recipe, options, ranges, images).result()


def float_source(engine: Engine, given: ModelSource, images: Sequence[EncodedImage] = ()) -> Source:
    """The model as given and as float32, its preprocessing found on the images where nobody says it.

    Raises ModelError, QuantizeError, SettingsError, WorkerError.
    """
    model = load_model(engine, given)
    if images and not model.refusal:
        (model,) = guess_all(engine, [model], a_few(images))
    return source_of(model, given)


def source_of(model: LoadedModel, given: ModelSource | None = None) -> Source:
    """What a builder reads. given: what the model was converted from, where that is still there.

    Raises QuantizeError where TensorFlow Lite cannot express the model.
    """
    if model.refusal:
        raise QuantizeError(f"{model.name} {model.refusal}")
    made = given or ModelSource(model.name, model.model.data, digest=model.digest)
    graph, settings = model.inspection.graph, model.settings
    return Source(made.kind, made.data, made.digest, model.model.data, model.digest, graph, settings)


def needs_ranges(source: Source, recipe: str, options: Options, method: str, images: int) -> bool:
    """Whether the builder wants ranges measured by us: TensorFlow's converter looks at the images itself."""
    row = recipe_of(recipe)
    return row.needs_calibration and builder_of(row, source.kind, options, method, images) is Builder.LITERT_QUANTIZER
