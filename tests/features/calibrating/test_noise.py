"""Random numbers as calibration images, images under a corruption, and the share that a range would clip."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.calibration import Calibration, calibration_of, clipped_job, measure_ranges
from qviz.features.building.source import Source
from qviz.features.calibrating.mistakes import UNIT, input_range, noise_ranges
from qviz.structures import AppliedCorruption, EncodedImage, Settings
from tests.features.conftest import SETTINGS

RANGES = [
    (Settings((127.5,) * 3, (127.5,) * 3), (-1, 1)),
    (Settings((0.0,) * 3, (255.0,) * 3), (0, 1)),
    (Settings((0.0,) * 3, (-255.0,) * 3), (-1, 0)),  # negative std: low and high are exchanged
]


@pytest.mark.parametrize(("settings", "ends"), RANGES)
def test_pixels_of_noise_images(settings: Settings, ends: tuple[float, float]) -> None:
    assert input_range(settings) == ((ends[0],) * 3, (ends[1],) * 3)


def test_each_channel_has_its_own_range() -> None:
    lows, highs = input_range(Settings((0.0, 51.0, 255.0), (255.0, 51.0, 255.0)))
    assert (lows, highs) == ((0, -1, -1), (1, 4, 0))
    with pytest.raises(QuantizeError, match="normalisation is unknown"):
        input_range(Settings())


def test_noise_spans_the_range_it_should(engine: LocalEngine, dense: Source) -> None:
    model = engine.share(dense.float_data, dense.float_digest)
    name = dense.graph.input_tensors()[0].name
    wide = noise_ranges(Context(engine), model, input_range(SETTINGS), 6)
    for ends, ranges in (((0, 1), noise_ranges(Context(engine), model, UNIT, 6)), ((-1, 1), wide)):
        assert ranges.images == 6
        low, high = calibration_of(ranges, dense.float_digest).ranges[name]
        assert ends[0] <= low < ends[0] + 0.01 and ends[1] - 0.01 < high <= ends[1]
    again = noise_ranges(Context(engine), model, input_range(SETTINGS), 6)
    np.testing.assert_array_equal(wide.highs, again.highs)
    other = noise_ranges(Context(engine), model, input_range(SETTINGS), 6, seed=1)
    assert (wide.highs != other.highs).any()


def test_an_image_is_calibrated_under_its_corruption(
    engine: LocalEngine, dense: Source, images: list[EncodedImage]
) -> None:
    model = engine.share(dense.float_data, dense.float_digest)
    name = dense.graph.input_tensors()[0].name
    plain = measure_ranges(Context(engine), model, SETTINGS, images)
    dark_images = [image.under(AppliedCorruption("exposure", -3)) for image in images]
    dark = measure_ranges(Context(engine), model, SETTINGS, dark_images)
    column = plain.names.index(name)
    assert dark.highs[:, column].max() < 0 < plain.highs[:, column].max()
    assert dark.digests == tuple(f"{digest}~exposure -3" for digest in plain.digests)


def test_a_subset_of_ranges_equals_measuring_those_images(
    engine: LocalEngine, dense: Source, images: list[EncodedImage]
) -> None:
    model = engine.share(dense.float_data, dense.float_digest)
    measured = measure_ranges(Context(engine), model, SETTINGS, images)
    few = measure_ranges(Context(engine), model, SETTINGS, [images[4], images[1]])
    part = measured.of([4, 1])
    assert part.digests == few.digests
    assert calibration_of(part, "x") == calibration_of(few, "x")


def test_shares_clipped_by_ranges(
    engine: LocalEngine, dense: Source, dense_ranges: Calibration, images: list[EncodedImage]
) -> None:
    model = engine.share(dense.float_data, dense.float_digest)
    measured = measure_ranges(Context(engine), model, SETTINGS, images[:2])
    clipped = engine.submit(clipped_job, model, SETTINGS, images[:2], measured.lows, measured.highs).result()
    assert clipped.shape == measured.lows.shape and not clipped.any()
    column = measured.names.index(dense.graph.input_tensors()[0].name)
    narrow, unknown = measured.highs.copy(), np.full_like(measured.lows, np.nan)
    narrow[:, column] = 0  # every pixel brighter than grey is clipped
    shares = engine.submit(clipped_job, model, SETTINGS, images[:2], measured.lows, narrow).result()
    assert (shares[:, column] > 0.05).all() and (shares[:, column] < 0.95).all()
    assert not np.delete(shares, column, axis=1).any()
    assert not engine.submit(clipped_job, model, SETTINGS, images[:2], unknown, unknown).result().any()
