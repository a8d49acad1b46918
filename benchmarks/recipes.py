"""Every recipe from every kind of source: a description of the built file, or the reason why it is refused.

The sources are the sample as a float32 .tflite file and as a SavedModel, a small Keras model with a dense head, and one
in the style of YOLOv8 (both from the tests). The builder has read and run each file; the description is of the file
itself.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.build import builders, start_building
from qviz.features.building.calibration import calibrate
from qviz.features.building.recipes import RECIPES, Options
from qviz.features.building.source import Source
from qviz.structures import EncodedImage
from qviz.tensorflow_models import SourceKind, read_packed
from tests.features.conftest import keras_source, source_of

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
IMAGES = 8
USUAL = ("--io", "weights only")
"""Texts in reasons for staying in float that are not worth printing, because the options imply them."""


def sources(workers: LocalEngine, folder: Path) -> Iterator[tuple[str, Source]]:
    data = (SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite").read_bytes()
    yield "sample .tflite", source_of(SourceKind.TFLITE, data, data)
    yield "sample SavedModel", source_of(SourceKind.SAVED_MODEL, read_packed(SAMPLE / "saved_model"), data)
    for style in ("dense", "yolo"):
        keras = keras_source(workers, folder, style)
        yield f"{style} .keras", keras
        yield f"{style} .tflite", source_of(SourceKind.TFLITE, keras.float_data, keras.float_data)


def rows(workers: LocalEngine, source: Source, images: Sequence[EncodedImage]) -> Iterator[tuple[str, str, str]]:
    """(recipe, types of inputs and outputs, outcome) of each recipe."""
    ranges = calibrate(Context(workers), source, images)
    for name, recipe in RECIPES.items():
        for io in recipe.io:
            given = (ranges, images) if recipe.needs_calibration else (None, ())
            start = time.perf_counter()
            try:
                built = start_building(workers, source, name, Options(io=io), *given).result()
            except QuantizeError as error:
                yield name, io, f"refused: {error}"
                continue
            seconds = time.perf_counter() - start
            share = len(built.data) / len(source.float_data)
            why = sorted({row.reason for row in built.stayed_float if not any(usual in row.reason for usual in USUAL)})
            yield (
                name,
                io,
                (
                    f"{built.scheme:<14}{share:5.0%}  {seconds:5.1f} s  {built.builder}"
                    + (f"; {built.remark}" if built.remark else "")
                    + (f"; in float: {'; '.join(why)}" if why else "")
                ),
            )


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    images = list(load_images(sorted((SAMPLE / "calibration").glob("*.jpg"))[:IMAGES]))
    with builders() as workers, tempfile.TemporaryDirectory() as folder:
        for name, source in sources(workers, Path(folder)):
            print(f"\n{name}")
            for recipe, io, outcome in rows(workers, source, images):
                print(f"  {recipe:<30}{io:<7}{outcome}", flush=True)


if __name__ == "__main__":
    main()
