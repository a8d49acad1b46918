"""`qviz.api.quantize`: one call from a path to a variant, the same as its parts give."""

from __future__ import annotations

import pytest

from qviz import api
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building import Calibration, Options, Source, start_building
from qviz.structures import Scheme
from tests.conftest import Sample
from tests.features.conftest import IMAGES


def test_it_builds_what_its_parts_build(
    sample: Sample, engine: LocalEngine, workers: LocalEngine, tflite: Source, ranges: Calibration
) -> None:
    paths = sorted((sample.folder / "calibration").glob("*.jpg"))[:IMAGES]
    seen: list[tuple[int, int]] = []
    built = api.quantize(
        sample.models["float32"], "int8", paths, engine, on_progress=lambda *counts: seen.append(counts)
    )
    assert built.scheme is Scheme.INT8
    assert seen[-1] == (IMAGES, IMAGES)
    assert built.data == start_building(workers, tflite, "int8", Options(), ranges).result().data


def test_integers_without_images_are_refused(sample: Sample, engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="Recipe int8 needs calibration: give 50 to 500 images"):
        api.quantize(sample.models["float32"], "int8", engine=engine)


def test_a_file_that_is_quantized_already_is_refused(sample: Sample, engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="The file is int8 already"):
        api.quantize(sample.models["int8"], "float16", engine=engine)


def test_the_recipe_is_checked_before_files_are_read(engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="'int9' is no recipe"):
        api.quantize("nothing.tflite", "int9", ["no images"], engine)
