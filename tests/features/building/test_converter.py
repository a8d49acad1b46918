"""Variants of a SavedModel and of a Keras file, by TensorFlow's converter."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import RECIPES, Builder, Options
from qviz.features.building.source import Source
from qviz.structures import EncodedImage
from qviz.tflite.schema import read_graph
from tests.conftest import Sample


def assert_same(data: bytes, bundled: bytes) -> None:
    """Equal graphs; scales and zero points may differ slightly, since sums depend on the machine."""
    built, expected = read_graph(data), read_graph(bundled)
    assert [op.kind for op in built.ops] == [op.kind for op in expected.ops]
    for one, other in zip(built.tensors, expected.tensors, strict=True):
        assert (one.name, one.dtype, one.shape, one.bytes) == (other.name, other.dtype, other.shape, other.bytes)
        if one.quantization is not None and other.quantization is not None:
            np.testing.assert_allclose(one.quantization.scales, other.quantization.scales, rtol=1e-3)
            np.testing.assert_allclose(one.quantization.zero_points, other.quantization.zero_points, atol=1)


def test_the_int8_file_equals_the_samples(workers: LocalEngine, saved_model: Source, sample: Sample) -> None:
    """The sample was made without this code, so equality shows that calibration inputs are the same."""
    images = list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))))
    built = start_building(workers, saved_model, "int8", Options(), None, images).result()
    assert (built.builder, built.scheme, built.remark) == (Builder.CONVERTER, "int8", "")
    assert_same(built.data, sample.models["int8"].read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float16", "dynamic_range"])
def test_other_files_equal_the_samples(name: str, workers: LocalEngine, saved_model: Source, sample: Sample) -> None:
    built = start_building(workers, saved_model, name).result()
    assert_same(built.data, sample.models[name].read_bytes())


@pytest.mark.slow
def test_integer_input_and_float_output(workers: LocalEngine, saved_model: Source, images: list[EncodedImage]) -> None:
    """With integers at both ends the converter would quantize class ids too."""
    built = start_building(workers, saved_model, "int16x8", Options(io="int16"), None, images[:2]).result()
    graph = read_graph(built.data)
    assert [tensor.dtype for tensor in graph.input_tensors()] == ["int16"]
    assert {tensor.dtype for tensor in graph.output_tensors()} == {"float32"}
    assert built.scheme == "int16x8"


def test_recipes_the_converter_lacks_use_litert_quantizer(workers: LocalEngine, saved_model: Source) -> None:
    built = start_building(workers, saved_model, "weight_only_int8").result()
    assert (built.builder, built.scheme) == (Builder.LITERT_QUANTIZER, "weight_only")


@pytest.mark.parametrize(
    ("name", "io"), [("float16", "float"), ("dynamic_range", "float"), ("int8", "uint8"), ("int8", "float")]
)
def test_recipes_on_a_dense_head(
    name: str, io: str, workers: LocalEngine, keras: Source, images: list[EncodedImage]
) -> None:
    built = start_building(workers, keras, name, Options(io=io), None, images).result()
    graph = read_graph(built.data)
    assert (built.builder, built.scheme, built.remark) == (Builder.CONVERTER, RECIPES[name].scheme, "")
    assert {tensor.dtype for tensor in graph.input_tensors()} == {"float32" if io == "float" else io}
    assert {tensor.dtype for tensor in graph.output_tensors()} == {"float32" if io == "float" else io}
    few = [row for row in built.stayed_float if "fewer than 1024" in row.reason]
    assert len(few) == (3 if name == "dynamic_range" else 0)  # two convolutions and the scores' layer


def test_layers_in_float_use_litert_quantizer(
    workers: LocalEngine, keras: Source, dense_ranges: Calibration, images: list[EncodedImage]
) -> None:
    built = start_building(workers, keras, "int8", Options(keep_float=("first",)), dense_ranges, images).result()
    assert built.builder is Builder.LITERT_QUANTIZER
    assert [row.reason for row in built.stayed_float].count("kept by --keep-float first") == 1
