"""Against numbers computed by hand from real = scale * (q - zero_point)."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.structures import Quantization
from tests.graphs import per_tensor

ROUNDED = [
    # real value, scale, zero point, dtype, quantized
    (0.0, 0.5, 3, "int8", 3),
    (1.0, 0.5, 0, "int8", 2),
    (0.24, 0.5, 0, "int8", 0),
    (0.25, 0.5, 0, "int8", 1),  # half away from zero, not to even
    (-0.25, 0.5, 0, "int8", -1),
    (0.75, 0.5, 0, "int8", 2),
    (1.25, 0.5, 0, "int8", 3),  # to even would be 2
    (-1.25, 0.5, 0, "int8", -3),
    (0.99, 1.0, 0, "uint8", 1),  # truncation would give 0
    (0.49999997, 1.0, 0, "int8", 0),  # adding a half in float32 would give 1
    (-0.49999997, 1.0, 0, "int8", 0),
    (1000.0, 0.5, 0, "int8", 127),  # saturates, does not wrap
    (-1000.0, 0.5, 0, "int8", -128),
    (-1.0, 0.5, 0, "uint8", 0),
    (300.0, 1.0, 0, "uint8", 255),
    (1.0, 1 / 128, 128, "uint8", 255),  # 256 does not fit
    (1e9, 0.5, 0, "int16", 32767),
]


@pytest.mark.parametrize(("value", "scale", "zero", "dtype", "expected"), ROUNDED)
def test_quantize(value: float, scale: float, zero: int, dtype: str, expected: int) -> None:
    values = per_tensor(scale, zero).quantize(np.array([value], np.float32), dtype)
    assert (values.dtype, values.tolist()) == (np.dtype(dtype), [expected])


def test_per_channel_scales_apply_along_their_axis() -> None:
    quantization = Quantization(np.array([0.5, 2.0], np.float32), np.array([0, 10]), axis=0)
    values = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]], np.float32)
    expected = [[2, 4, 6], [11, 12, 13]]
    assert quantization.per_channel
    assert quantization.quantize(values, "int8").tolist() == expected
    assert quantization.dequantize(np.array(expected, np.int8)).tolist() == values.tolist()
    turned = Quantization(quantization.scales, quantization.zero_points, axis=1)
    assert turned.quantize(values.T, "int8").tolist() == np.transpose(expected).tolist()


def test_dequantize_does_not_wrap_in_eight_bits() -> None:
    values = per_tensor(2.0, 127).dequantize(np.array([-128, 127], np.int8))
    assert (values.dtype, values.tolist()) == (np.dtype(np.float32), [-510.0, 0.0])


def test_round_trip_of_every_quantized_value() -> None:
    every = np.arange(-128, 128).astype(np.int8)
    quantization = per_tensor(0.0078125, -7)
    assert quantization.quantize(quantization.dequantize(every), "int8").tolist() == every.tolist()


@pytest.mark.parametrize(
    ("scale", "zero", "dtype", "expected"),
    [(0.5, 0, "int8", (-64.0, 63.5)), (0.5, 128, "uint8", (-64.0, 63.5)), (1.0, -128, "int8", (0.0, 255.0))],
)
def test_real_range(scale: float, zero: int, dtype: str, expected: tuple[float, float]) -> None:
    assert per_tensor(scale, zero).real_range(dtype) == expected
