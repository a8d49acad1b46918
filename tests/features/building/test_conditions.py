"""Builds that are refused before anything runs, and their messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration
from qviz.features.building.conditions import builder_of, check
from qviz.features.building.recipes import Builder, Options, recipe_of
from qviz.features.building.source import Source
from qviz.tensorflow_models import SourceKind
from qviz.tflite.schema import read_graph
from tests.conftest import Sample

REFUSED = [
    ("int9", Options(), "'int9' is not a recipe; choose one of float16, dynamic_range"),
    ("int8", Options(algorithm="best"), "'best' is not an algorithm; choose one of minmax, octav"),
    (
        "int8",
        Options(io="int16"),
        "Recipe int8 has inputs and outputs of float or int8 or uint8, not int16; choose int16x8",
    ),
    ("float16", Options(io="int8"), "Recipe float16 has inputs and outputs of float, not int8; choose int8."),
    ("int8", Options(io="int4"), "no recipe supports it."),
    ("int8", Options(algorithm="gptq"), "Algorithm gptq does not fit recipe int8. It is for FULLY_CONNECTED"),
    ("weight_only_int8", Options(algorithm="hadamard"), "in dynamic-range recipes;"),
    ("float16", Options(algorithm="octav"), "float16 only rounds to half precision"),
    (
        "dynamic_range",
        Options(algorithm="gptq"),
        "No operator in this network suits algorithm gptq, which is for FULLY_CONNECTED",
    ),
    (
        "dynamic_range_int4_blockwise",
        Options(),
        "No operator in this network suits recipe dynamic_range_int4",
    ),
    ("dynamic_range_int4_blockwise", Options(algorithm="mse"), "It supports neither blockwise scales"),
    (
        "dynamic_range_int4_blockwise",
        Options(block=33),
        "A block of 33 is not supported; choose one of 32, 64,",
    ),
    (
        "int8",
        Options(keep_float=("Predictr",)),
        "No operator's name contains 'Predictr'. Names are e.g. 'Feature",
    ),
    ("int8", Options(keep_float=("a(b",)), "'a(b' is not a regular expression (missing )"),
    ("int8", Options(keep_orders=(3, 125)), "There is no operator 125: the network has 125, counted from 0."),
    ("weight_only_int8", Options(keep_float=(".",)), "No operator left to quantize suits recipe weight_only_int8"),
    ("int8", Options(), "Recipe int8 needs calibration: give 50 to 500 representative images"),
    ("int16x8", Options(wide_orders=(3,)), "16-bit activations of some operators fit recipe int8, not int16x8"),
    ("int8", Options(wide_orders=(3, 4, 5), keep_orders=(5, 9)), "Operators 5 cannot be in float and in 16 bits"),
    ("int8", Options(wide_orders=(124,)), "None of these operators has a 16-bit kernel: TFLite_Detection_PostProcess."),
    ("int8", Options(wide=("Predictr",)), "No operator's name contains 'Predictr'"),
]


@pytest.mark.parametrize(("recipe", "options", "sentence"), REFUSED)
def test_invalid_options_are_refused_before_the_build(
    recipe: str, options: Options, sentence: str, workers: LocalEngine, tflite: Source
) -> None:
    with pytest.raises(QuantizeError) as refused:
        start_building(workers, tflite, recipe, options)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("scheme", ["int8", "float16", "dynamic_range"])
def test_only_float32_models_are_quantized(scheme: str, sample: Sample) -> None:
    graph = read_graph(sample.models[scheme].read_bytes())
    with pytest.raises(
        QuantizeError, match=f"The file is already {scheme}, and recipe int8 starts from float32 weights"
    ):
        check(recipe_of("int8"), graph)


def test_control_flow_cannot_be_calibrated(tflite: Source) -> None:
    graph = replace(tflite.graph, subgraphs=3)
    with pytest.raises(QuantizeError, match=r"has control flow \(3 subgraphs\)"):
        check(recipe_of("int8"), graph)
    check(recipe_of("dynamic_range"), graph)


def test_ranges_of_another_model_are_refused(workers: LocalEngine, tflite: Source, ranges: Calibration) -> None:
    with pytest.raises(QuantizeError, match="measured on another model"):
        start_building(workers, tflite, "int8", Options(), replace(ranges, model="0" * 64))


def test_gptq_requires_images(workers: LocalEngine, dense: Source) -> None:
    with pytest.raises(QuantizeError, match="gptq needs the calibration images themselves"):
        start_building(workers, dense, "dynamic_range", Options(algorithm="gptq"))


@pytest.mark.parametrize(
    ("recipe", "options", "method", "images", "builder"),
    [
        ("float16", Options(), "minmax", 0, Builder.CONVERTER),
        ("int8", Options(), "minmax", 6, Builder.CONVERTER),
        ("int8", Options(), "minmax", 0, Builder.LITERT_QUANTIZER),  # from ranges measured before
        ("int8", Options(), "percentile", 6, Builder.LITERT_QUANTIZER),
        ("int8", Options(keep_orders=(3,)), "minmax", 6, Builder.LITERT_QUANTIZER),
        ("int8", Options(algorithm="octav"), "minmax", 6, Builder.LITERT_QUANTIZER),
        ("weight_only_int8", Options(), "minmax", 6, Builder.LITERT_QUANTIZER),
    ],
)
def test_builder_of_each_recipe_for_a_saved_model(
    recipe: str, options: Options, method: str, images: int, builder: Builder
) -> None:
    assert builder_of(recipe_of(recipe), SourceKind.SAVED_MODEL, options, method, images) is builder
    assert builder_of(recipe_of(recipe), SourceKind.TFLITE, options, method, images) is Builder.LITERT_QUANTIZER
