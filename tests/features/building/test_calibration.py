"""Ranges of the runner against litert-quantizer's own calibration."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from litert_quantizer import calibrator, recipe, recipe_manager
from litert_quantizer.utils import qsv_utils

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.calibration import FEW, Calibration, calibrate, hessians, network_input
from qviz.features.building.source import Source
from qviz.structures import EncodedImage, Settings
from tests.features.conftest import SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")


def litert_ranges(source: Source, images: list[EncodedImage], **how: Any) -> dict[str, tuple[float, float]]:
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    calibration = calibrator.Calibrator(source.float_data, num_threads=1, **how)
    tensor = source.graph.input_tensors()[0]
    name = next(name for name, index in source.graph.signature.items() if index == tensor.index)
    calibration.calibrate(
        {"serving_default": [{name: network_input(image, SETTINGS, tensor)} for image in images]}, rules
    )
    ranges = calibration.get_model_qsvs().items()
    return {name: (float(ends["min"].min()), float(ends["max"].max())) for name, ends in ranges}


def assert_equal(ours: Calibration, others: dict[str, tuple[float, float]]) -> None:
    assert set(others) <= set(ours.ranges)
    for name, ends in others.items():
        assert ours.ranges[name] == pytest.approx(ends, rel=1e-4, abs=1e-5), name


def test_minmax(engine: LocalEngine, tflite: Source, images: list[EncodedImage]) -> None:
    few = images[:2]
    ours = calibrate(Context(engine), tflite, few, "minmax")
    others = litert_ranges(tflite, few, qsv_update_func=qsv_utils.min_max_update)
    assert len(others) > 100
    assert_equal(ours, others)


def test_moving_average(engine: LocalEngine, dense: Source, images: list[EncodedImage]) -> None:
    ours = calibrate(Context(engine), dense, images, "moving_average")
    assert_equal(ours, litert_ranges(dense, images))
    assert ours.ranges != calibrate(Context(engine), dense, images).ranges


def test_the_mean_clips_no_pixel_and_no_tensor_of_few_values(
    engine: LocalEngine, tflite: Source, images: list[EncodedImage]
) -> None:
    mean, minmax = (calibrate(Context(engine), tflite, images, method) for method in ("mean", "minmax"))
    values = {tensor.name: math.prod(tensor.shape) for tensor in tflite.graph.tensors}
    narrower = {name for name, ends in mean.ranges.items() if ends != minmax.ranges[name]}
    assert tflite.graph.input_tensors()[0].name not in narrower
    assert len(narrower) > 50 and min(values[name] for name in narrower) >= FEW
    assert mean.extremes == minmax.ranges


def test_hessians(dense: Source, images: list[EncodedImage]) -> None:
    """One image gives 2 x x^T of the input x of each FULLY_CONNECTED."""
    (first, *_), tensors = images, dense.graph.tensors
    matrices = hessians(dense.data, SETTINGS, [first])
    read = {tensors[op.inputs[0] or 0].name for op in dense.graph.ops if op.kind == "FULLY_CONNECTED"}
    assert set(matrices) == read
    for matrix in matrices.values():
        np.testing.assert_allclose(matrix, matrix.T)
        assert np.linalg.matrix_rank(matrix) == 1
    both = hessians(dense.data, SETTINGS, images[:2])
    name = next(iter(matrices))
    np.testing.assert_allclose(
        both[name] * 2 - matrices[name], hessians(dense.data, SETTINGS, images[1:2])[name], atol=1e-5
    )


def test_a_broken_image_is_skipped(engine: LocalEngine, dense: Source, images: list[EncodedImage]) -> None:
    broken = EncodedImage("broken.jpg", b"\xff\xd8 not an image")
    done: list[tuple[int, int]] = []
    context = Context(engine).reporting(lambda a, b: done.append((a, b)))
    measured = calibrate(context, dense, [broken, *images])
    assert measured == calibrate(Context(engine), dense, images)
    assert (len(measured.skipped), measured.skipped[0][:10]) == (1, "broken.jpg")
    assert done == [(4, 7), (7, 7)]
    with pytest.raises(QuantizeError, match=r"No calibration image could be read. broken.jpg"):
        calibrate(Context(engine), dense, [broken])


def test_the_method_is_checked_first(engine: LocalEngine, dense: Source, images: list[EncodedImage]) -> None:
    with pytest.raises(QuantizeError, match="'entropy' is not a method for ranges; choose one of mean, minmax"):
        calibrate(Context(engine), dense, images, "entropy")
    with pytest.raises(QuantizeError, match="preprocessing is unknown"):
        calibrate(Context(engine), replace(dense, settings=Settings()), images)
