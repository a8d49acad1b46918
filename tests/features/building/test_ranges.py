"""From per-image ranges to one range per tensor, on constructed values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from qviz.errors import QuantizeError
from qviz.features.building.calibration import (
    MAX_PERCENTILE_VALUES,
    METHODS,
    PERCENTILE,
    Calibration,
    ImageRanges,
    calibration_of,
    joined,
    range_of,
)

MODEL = "a" * 64


def ranges_of(*rows: list[tuple[float, float]], names: tuple[str, ...] = ("a", "b")) -> ImageRanges:
    ends = np.array(rows, np.float32).reshape(len(rows), len(names), 2)
    return ImageRanges(names, ends[..., 0], ends[..., 1])


FIRST = ranges_of([(-1, 2), (0, 1)], [(-3, 1), (0, 5)])
SECOND = ranges_of([(-2, 4), (1, 2)])


@pytest.mark.parametrize(
    ("method", "a", "b"),
    [
        ("mean", (-2, 7 / 3), (1 / 3, 8 / 3)),
        ("minmax", (-3, 4), (0, 5)),
        ("percentile", (-2, 7 / 3), (1 / 3, 8 / 3)),
        ("moving_average", (0.95 * -1.1 + 0.05 * -2, 0.95 * 1.95 + 0.05 * 4), (0.05, 0.95 * 1.2 + 0.05 * 2)),
    ],
)
def test_methods_on_three_images(method: str, a: tuple[float, float], b: tuple[float, float]) -> None:
    calibration = calibration_of(joined([FIRST, SECOND]), MODEL, method)
    assert (calibration.images, calibration.method, calibration.model) == (3, method, MODEL)
    assert calibration.ranges["a"] == pytest.approx(a)
    assert calibration.ranges["b"] == pytest.approx(b)


def test_batches_do_not_change_the_ranges() -> None:
    whole = ranges_of([(-1, 2), (0, 1)], [(-3, 1), (0, 5)], [(-2, 4), (1, 2)])
    for method in METHODS:
        split = calibration_of(joined([FIRST, SECOND]), MODEL, method)
        assert split == calibration_of(whole, MODEL, method)
        assert split.digest == calibration_of(whole, MODEL, method).digest
    assert calibration_of(FIRST, MODEL).digest != calibration_of(whole, MODEL).digest


def test_tensors_with_equal_names_share_a_range() -> None:
    assert calibration_of(ranges_of([(-1, 2), (0, 7)], names=("x", "x")), MODEL).ranges == {"x": (-1, 7)}


def test_a_tensor_without_values_is_omitted() -> None:
    assert calibration_of(ranges_of([(-1, 2), (math.nan, math.nan)]), MODEL).ranges == {"a": (-1, 2)}


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([1, -2, 3], (-2, 3)),
        ([1, -math.inf, 3], (1, 3)),  # a padding
        ([math.nan, 5, 4], (4, 5)),
        ([-3.4e38, 1, 2], (1, 2)),
    ],
)
def test_only_finite_values_count(values: list[float], whole: tuple[float, float]) -> None:
    array = np.array(values, np.float32)
    assert range_of(array, use_quantiles=False) == whole
    low, high = range_of(array, use_quantiles=True)
    assert whole[0] <= low < whole[0] + 0.01
    assert whole[1] - 0.01 < high <= whole[1]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("values", [[], [math.nan, math.inf]])
def test_no_finite_values(values: list[float], cut: bool) -> None:
    assert np.isnan(range_of(np.array(values, np.float32), cut)).all()


def test_a_percentile_is_not_moved_by_one_outlier() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, 100_000).astype(np.float32)
    values[0] = 1000
    assert range_of(values, use_quantiles=False)[1] == 1000
    assert range_of(values, use_quantiles=True)[1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("size", [1, 2, 70, 5000, 86_528, 300_000])
def test_percentiles_are_those_of_numpy(size: int) -> None:
    values = np.random.default_rng(size).normal(size=size).astype(np.float32)
    for each in (values, np.maximum(values, 0), np.round(values), np.sort(values), values[::-1], values**5):
        read = each[:: -(-size // MAX_PERCENTILE_VALUES)]
        expected = np.quantile(read.astype(np.float64), [1 - PERCENTILE / 100, PERCENTILE / 100])
        assert range_of(each, use_quantiles=True) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-6)


def test_json_round_trip() -> None:
    calibration = calibration_of(FIRST, MODEL, "percentile")
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json())), "x") == calibration


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "is not a file written by qviz quantize --save-ranges"),
        (
            {"ranges": {"a": [1]}, "images": 1, "method": "minmax", "model": ""},
            "is not a file written by qviz quantize --save-ranges",
        ),
        ({"ranges": {"a": [1, 0]}, "images": 1, "method": "minmax", "model": ""}, "whose minimum is above its maximum"),
        ({"ranges": {"a": [0, math.inf]}, "images": 1, "method": "minmax", "model": ""}, "not finite"),
    ],
)
def test_invalid_json_is_refused(document: object, sentence: str) -> None:
    with pytest.raises(QuantizeError, match=sentence):
        Calibration.from_json(document, "ranges.json")


def test_no_image() -> None:
    with pytest.raises(QuantizeError, match=r"No calibration image could be read. bad.jpg is broken."):
        calibration_of(ImageRanges((), np.zeros((0, 0)), np.zeros((0, 0)), ("bad.jpg is broken.",)), MODEL)
