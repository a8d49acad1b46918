"""`Session.quantize`: from a path to a variant in one call, with the same result as its steps."""

from __future__ import annotations

from pathlib import Path

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError, SettingsError
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import Options
from qviz.features.building.source import Source
from qviz.progress import Progress
from qviz.structures import Scheme
from tests.conftest import Sample
from tests.features.conftest import IMAGES


class Recorded(Progress):
    """Records all progress reports."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, done: int, total: int) -> None:
        self.counts.append((done, total))


def test_quantize_equals_its_steps(
    sample: Sample, engine: LocalEngine, workers: LocalEngine, tflite: Source, ranges: Calibration, tmp_path: Path
) -> None:
    paths = sorted((sample.folder / "calibration").glob("*.jpg"))[:IMAGES]
    progress = Recorded()
    with qviz.open(
        sample.models["float32"], calibration=paths, engine=engine, cache=False, progress=progress
    ) as session:
        built = session.quantize("int8")
    assert built.scheme is Scheme.INT8
    assert progress.steps == ["Measuring ranges", "Building and testing the file"]
    assert progress.counts[-1] == (IMAGES, IMAGES)
    assert built.data == start_building(workers, tflite, "int8", Options(), ranges).result().data
    assert built.save(tmp_path / "int8.tflite").read_bytes() == built.data
    assert str(built).startswith("int8, 5.37 MB, built by litert-quantizer in ") and len(repr(built)) <= 500
    assert list(built.to_frame().columns) == ["tensor", "reason"]
    assert built.calibration is not None and built.calibration["images"] == IMAGES
    assert "data" not in built.to_json()


def test_ranges_are_measured_once_for_all_recipes(sample: Sample, engine: LocalEngine, tmp_path: Path) -> None:
    paths = sorted((sample.folder / "calibration").glob("*.jpg"))[:2]
    with qviz.open(sample.models["float32"], calibration=paths, engine=engine, cache=False) as session:
        assert session.quantize("float16").ranges is None
        ranges = session.quantize("float16", keep_ranges=True).ranges
    assert ranges is not None and ranges.images == 2


def test_integers_without_images_are_refused(sample: Sample, engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="Recipe int8 needs calibration: give 50 to 500 representative images"):
        qviz.quantize(sample.models["float32"], "int8", engine=engine)


def test_a_quantized_model_is_refused(sample: Sample, engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="The file is already int8"):
        qviz.quantize(sample.models["int8"], recipe="float16", engine=engine)


def test_recipe_and_options_are_checked_first(engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match="'int9' is not a recipe"):
        qviz.quantize("nothing.tflite", recipe="int9", calibration=["no images"], engine=engine)
    with pytest.raises(SettingsError, match="'grain' is not an option of a recipe; known options are io, algorithm"):
        qviz.open("nothing.tflite", engine=engine).quantize("int8", grain=3)
