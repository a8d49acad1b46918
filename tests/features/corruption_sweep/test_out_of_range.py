"""The out-of-range alarm is raised only by images beyond the calibration; few images cover the excess."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import find_images, load_images
from qviz.engine import LocalEngine
from qviz.errors import ImageError
from qviz.features.corruption_sweep.out_of_range import RangeReach, images_to_add, out_of_range, rank_images
from qviz.features.detection.models import LoadedModel
from qviz.structures import AppliedCorruption, EncodedImage
from tests.conftest import Sample


def test_a_dark_image_is_out_of_a_bright_range(
    engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample
) -> None:
    photographs = list(load_images(find_images([sample.images])))[:4]
    dark = photographs[0].under(AppliedCorruption("exposure", -4))
    images = [*photographs, dark]
    fine = out_of_range(Context(engine), loaded["float32"], loaded["int8"], photographs)
    assert fine.alarms == () and fine.typical < 0.005
    wrong = out_of_range(Context(engine), loaded["float32"], loaded["int8_wrong_range"], images)
    alarm = next(image for image in wrong.images if image.digest == dark.digest)
    assert alarm.alarm and alarm.layers_outside > 5
    assert any((layer.op_index, layer.op_type) == (0, "QUANTIZE") and layer.share > 0.9 for layer in alarm.layers)
    assert [image.score for image in wrong.images] == sorted((image.score for image in wrong.images), reverse=True)
    assert 0 < len(wrong.add) <= len(images) and wrong.add[-1].covered > 0.9


def test_a_broken_image_is_named_and_the_others_are_measured(
    engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample
) -> None:
    good = next(iter(load_images(find_images([sample.images]))))
    pair = loaded["float32"], loaded["int8"]
    result = out_of_range(Context(engine), *pair, [EncodedImage("bad.jpg", b"nothing"), good])
    assert [image.image for image in result.images] == [good.name] and "bad.jpg" in result.skipped[0]
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        out_of_range(Context(engine), *pair, [EncodedImage("bad.jpg", b"nothing")])


def _rows(excess: list[list[tuple[float, float]]]) -> list[tuple[RangeReach, ...]]:
    return [
        tuple(RangeReach(order, f"t{order}", "ADD", 10, 0, 0, ends) for order, ends in enumerate(row)) for row in excess
    ]


def test_one_unusual_image_is_an_alarm() -> None:
    plain = [[(0, 0.001 * i), (0, 0), (0, 0)] for i in range(6)]
    result = rank_images("v", [(f"{i}", f"d{i}") for i in range(7)], _rows([*plain, [(0.2, 0), (0, 0.3), (0, 0)]]))
    assert [image.image for image in result.alarms] == ["6"]
    assert [(layer.op_index, layer.below, layer.above) for layer in result.alarms[0].layers] == [
        (1, 0, 0.3),
        (0, 0.2, 0),
    ]


def test_one_clipping_layer_is_an_alarm() -> None:
    inside = [RangeReach(order, f"t{order}", "ADD", 100, 0, 0, (0, 0)) for order in range(50)]
    dark = [RangeReach(0, "input", "QUANTIZE", 100, 60, 0, (0.2, 0)), *inside[1:]]
    result = rank_images("v", [(f"{i}", f"d{i}") for i in range(4)], [*[tuple(inside)] * 3, tuple(dark)])
    assert [image.image for image in result.alarms] == ["3"] and result.alarms[0].score > 0.6
    assert [row.image for row in result.add] == ["3"]


def test_similar_images_far_out_of_range_are_an_alarm() -> None:
    result = rank_images("v", [(f"{i}", f"d{i}") for i in range(5)], _rows([[(0.5, 0), (0, 0)]] * 5))
    assert len(result.alarms) == 5 and result.typical == pytest.approx(0.125)


COVERS = [
    ("one image covers all", [[0.2, 0.4], [0.1, 0.3]], [0]),
    ("two that go different ways", [[0.5, 0.0, 0.0], [0.0, 0.5, 0.4], [0.1, 0.1, 0.1]], [1, 0]),
    ("the same image twice is taken once", [[0.5], [0.5]], [0]),
    ("what no range notices", [[0.01, 0.02]], []),
]


@pytest.mark.parametrize(("why", "excess", "expected"), COVERS)
def test_few_images_cover_the_excess(why: str, excess: list[list[float]], expected: list[int]) -> None:
    result = images_to_add(np.array(excess))
    assert [image for image, _ in result] == expected, why
    assert all(share == pytest.approx(1) for _, share in result[-1:])
