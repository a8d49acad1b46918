"""Stability and outliers on constructed ranges."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.accuracy.evaluator import Measurement
from qviz.features.building.calibration import ImageRanges
from qviz.features.calibrating.result import Trial, curve_of, tried_of
from qviz.features.calibrating.stability import MAX_CHANGE, outliers_to_remove, ranges_without_each, stability
from qviz.features.calibrating.trials import curve_sizes, curve_trials
from qviz.structures import Graph
from tests.features.calibrating.labs import OUTLIER
from tests.graphs import graph, op, tensor

NAMES = ("steady", "wild", "not quantized")


def network() -> Graph:
    """A graph of an input and of two operators that write the other two tensors."""
    tensors = [tensor(number, name) for number, name in enumerate(NAMES)]
    return graph(tensors, [2], [op("CONV_2D", [0], [1]), op("CONV_2D", [1], [2])])


def measured(images: int, factor: float = 5.0) -> ImageRanges:
    """The first tensor is alike on all images; the others are `factor` times as wide on one image in ten."""
    rng = np.random.default_rng(1)
    highs = np.repeat(rng.uniform(0.95, 1, (images, 1)), 3, axis=1).astype(np.float32)
    highs[::10, 1:] *= factor
    digests = tuple(str(number) for number in range(images))
    return ImageRanges(NAMES, -np.ones_like(highs), highs, (), digests)


def test_a_layer_that_depends_on_the_images_is_named() -> None:
    result = stability(measured(10), network(), {"steady", "wild"}, (1, 2, 4), "minmax", 0)
    assert result is not None and result.too_few
    (layer,) = result.changed  # one image in ten is in only one half, so the halves always differ
    assert (layer.tensor, layer.op_index, result.layers, result.images) == ("wild", 0, 2, 5)
    assert layer.change == pytest.approx(1 - 2 / 6, abs=0.02)
    assert {layer.first[1] > 2, layer.second[1] > 2} == {True, False}
    assert [row.images for row in result.sizes] == [1, 2, 5]
    assert result.sizes[-1].changed == 1 and result.sizes[-1].worst == layer.change


def test_ranges_are_stable_with_enough_images() -> None:
    result = stability(measured(400), network(), {"steady", "wild"}, (1, 8, 64), "minmax", 0)
    assert result is not None and not result.too_few and result.changed == ()
    assert result.sizes[-1].worst < 0.02 < MAX_CHANGE < result.sizes[1].worst
    one = stability(measured(1), network(), {"steady"}, (1,), "minmax", 0)
    assert one is None


def test_ranges_without_each_image() -> None:
    lows = np.array([[-1, 0], [-3, np.nan], [-2, 5]], np.float32)
    highs = np.array([[1, 7], [4, np.nan], [2, 7]], np.float32)
    low, high = ranges_without_each(lows, highs)
    np.testing.assert_array_equal(low, [[-3, 5], [-2, 0], [-3, 0]])
    np.testing.assert_array_equal(
        high, [[4, 7], [2, 7], [4, 7]]
    )  # two images share the extreme value, so neither alone determines it
    low, _ = ranges_without_each(lows[:2], highs[:2])
    assert np.isnan(low[0, 1])  # no other image has the value


@pytest.mark.parametrize(("images", "count"), [(7, 0), (8, 1), (66, 6)])
def test_number_of_outliers_not_listed(images: int, count: int) -> None:
    assert len(outliers_to_remove([OUTLIER] * 66, images)) == count


@pytest.mark.parametrize(
    ("images", "sizes"),
    [
        (1, (1,)),
        (2, (1, 2)),
        (3, (1, 2, 3)),
        (5, (1, 2, 5)),
        (66, (1, 2, 4, 8, 16, 32, 66)),
        (64, (1, 2, 4, 8, 16, 32, 64)),
    ],
)
def test_sizes_of_calibration_sets(images: int, sizes: tuple[int, ...]) -> None:
    assert curve_sizes(images) == sizes


def test_losses_are_compared_at_equal_numbers_of_images() -> None:
    """Two draws of two images, the four images with the widest ranges, one mistake of two images and one of four."""
    (whole, *draws) = curve_trials(measured(4), "model", "minmax", 2, 7)
    few = [trial for trial in draws if trial.images == 2]
    wrong, dark = (Trial("mismatch", name, name, count, whole.calibration) for name, count in (("a", 4), ("b", 2)))
    values = {whole: 0.5, few[0]: 0.4, few[1]: 0.3, wrong: 0.1, dark: 0.3}
    done: dict[Trial, Measurement | str] = {trial: measurement(value) for trial, value in values.items()}
    rows = dict(tried_of(done, measurement(0.6), 10))
    assert rows[dark].extra.value == pytest.approx(0.35 - 0.3)
    assert rows[wrong].extra.value == pytest.approx((0.5 + 0.4 + 0.3) / 3 - 0.1)
    assert (rows[wrong].loss.value, rows[wrong].loss.significant) == (pytest.approx(0.5), True)
    (two, four) = curve_of(done, list(rows.items()), 10)
    assert (two.images, two.low, two.high, two.value) == (2, 0.3, 0.4, pytest.approx(0.35))
    assert (four.images, two.extra.value) == (4, pytest.approx(0.05))
    refused = tried_of({whole: "No kernel."}, measurement(0.6), 10)
    assert [tried.refused for _, tried in refused] == ["No kernel."]


def measurement(value: float) -> Measurement:
    draws = value + np.linspace(-0.01, 0.01, 50)
    return Measurement(value, draws, value, draws, None, None)


def test_draws_are_seeded_and_differ() -> None:
    ranges = measured(20)
    first = list(curve_trials(ranges, "model", "minmax", 2, 7))
    again = list(curve_trials(ranges, "model", "minmax", 2, 7))
    assert [trial.images for trial in first] == [20, 1, 2, 4, 8, 1, 2, 4, 8]
    assert [trial.calibration for trial in first] == [trial.calibration for trial in again]
    other = list(curve_trials(ranges, "model", "minmax", 2, 8))
    assert [trial.calibration for trial in first[1:]] != [trial.calibration for trial in other[1:]]
    assert all(trial.calibration.images == trial.images for trial in first)
