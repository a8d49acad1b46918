"""A built file has no bias that was cut off at the end of its integer type."""

from __future__ import annotations

from pathlib import Path

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.features.detection.models import ModelSource, load_model
from qviz.features.inspection.checks import bias_warnings
from qviz.tflite.constants import saturated_biases
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.squares import Squares
from tests.squares.detectors import flooding, reference


@pytest.mark.parametrize(("recipe", "min_ap"), [("int8", 64), ("int16x8", 66)])
def test_a_dead_channel_keeps_its_bias(recipe: str, min_ap: float, squares: Squares, tmp_path: Path) -> None:
    float32 = squares.model("dead_channel", "float32")
    built = qviz.quantize(float32, recipe=recipe, calibration=squares.images, mean=0, std=255)
    assert saturated_biases(built.data, read_graph(built.data)) == {}
    result = qviz.evaluate(
        float32,
        built.save(tmp_path / "built.tflite"),
        dataset=squares.annotations,
        dataset_images=squares.images,
        labels=squares.labels,
        mean=0,
        std=255,
    )
    assert 100 * (result.models[1].ap or 0) > min_ap


def test_the_sample_has_no_saturated_bias(sample: Sample) -> None:
    built = qviz.quantize(sample.models["float32"], recipe="int8", calibration=sample.folder / "calibration")
    assert saturated_biases(built.data, read_graph(built.data)) == {}


def test_saturated_biases_of_any_file_have_a_warning(engine: LocalEngine) -> None:
    faulty = load_model(engine, ModelSource("faulty.tflite", flooding("int8")))
    (warning,) = bias_warnings(faulty)
    assert warning.code == "saturated_bias"
    assert "6 biases" in warning.message
    assert list(bias_warnings(load_model(engine, ModelSource("right.tflite", reference("int8"))))) == []
