"""Errors of tensors against numbers computed by hand and against ONNX Runtime's formula."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.layer_error.tensor_error import ErrorSums, RangeSums, sqnr_db
from qviz.structures import Quantization

PER_TENSOR = Quantization(np.array([0.5], np.float32), np.array([0], np.int64))


def summed(x: list[float], y: list[float]) -> ErrorSums:
    sums = ErrorSums()
    sums.add(np.array(x, np.float32), np.array(y, np.float32), "a.jpg")
    return sums


def test_errors_computed_by_hand() -> None:
    sums = summed([3, 4], [3, 3])
    assert (sums.count, sums.mse, sums.max_abs) == (2, 0.5, 1)
    assert sums.sqnr_db == pytest.approx(20 * np.log10(5 / 1))
    assert sums.cosine == pytest.approx(21 / (5 * np.sqrt(18)))
    assert sums.rmse_over_scale(0.5) == pytest.approx(np.sqrt(0.5) / 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_sqnr_is_onnx_runtimes_formula(seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=1000).astype(np.float32)
    y = (x + draw.normal(scale=0.01, size=1000)).astype(np.float32)
    onnx_runtime_sqnr = 20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - y))
    assert sqnr_db(x, y) == pytest.approx(float(onnx_runtime_sqnr), rel=1e-5)


def test_equal_tensors_have_no_ratio() -> None:
    assert sqnr_db(np.ones(3, np.float32), np.ones(3, np.float32)) is None
    assert ErrorSums().mse is None


def test_images_are_pooled_and_the_worst_is_named() -> None:
    sums = summed([1, 1], [1, 0])
    other = ErrorSums()
    other.add(np.array([1, 1], np.float32), np.array([0, -1], np.float32), "b.jpg")
    sums.merge(other)
    assert (sums.images, sums.worst_image) == (2, "b.jpg")
    assert sums.mse == pytest.approx((1 + 1 + 4) / 4)


def test_clipping_and_rounding_are_separate() -> None:
    sums = RangeSums()
    # int8 at scale .5 holds [-64, 63.5]: 63.7 still rounds to the end, 70 is 6.5 beyond it, .25 rounds by a half step
    sums.add(np.array([0.25, 63.7, 70.0, 1.0], np.float32), PER_TENSOR, "int8")
    assert sums.share() == 0.25
    assert sums.mean(sums.clipping) == pytest.approx((0.2**2 + 6.5**2) / 4, rel=1e-4)
    assert sums.mean(sums.rounding) == pytest.approx(0.25**2 / 4)
    assert (sums.low, sums.high) == (0.25, 70.0)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16"])
def test_values_are_quantized_with_the_quantizers_rounding(dtype: str) -> None:
    zero = {"int8": -20, "uint8": 100, "int16": 0}[dtype]
    quantization = Quantization(np.array([0.25], np.float32), np.array([zero], np.int64))
    draw = np.random.default_rng(1)
    # half-way values of both signs, the float just below one half, and values beyond both ends
    odd = np.array([0.125, -0.125, 0.375, -0.375, 0.49999997 * 0.25, -0.49999997 * 0.25, 1e6, -1e6], np.float32)
    x = np.concatenate([odd, draw.normal(scale=12, size=300_000).astype(np.float32)])
    quantized = np.empty(x.shape, dtype)
    sums, plain = RangeSums(), RangeSums()
    sums.add(x, quantization, dtype, quantized)
    plain.add(x, quantization, dtype)
    np.testing.assert_array_equal(quantized, quantization.quantize(x, dtype))
    assert (plain.clipped, plain.low, plain.high) == (sums.clipped, sums.low, sums.high)
    assert plain.rounding == pytest.approx(sums.rounding, rel=1e-5)


def test_quantized_tensors_are_dequantized() -> None:
    draw = np.random.default_rng(2)
    x = draw.normal(scale=20, size=200_000).astype(np.float32)
    y = PER_TENSOR.quantize(x, "int8")
    integers, real, energies = ErrorSums(), ErrorSums(), ErrorSums()
    integers.add(x, y, "a.jpg", PER_TENSOR)
    real.add(x, PER_TENSOR.dequantize(y), "a.jpg")
    energies.add_energies(x, y, PER_TENSOR)
    assert integers == real
    assert (energies.mse, energies.sqnr_db) == (real.mse, real.sqnr_db)
