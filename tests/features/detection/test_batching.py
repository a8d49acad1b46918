"""How many images share a trip to a worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from qviz.features.detection.batching import BYTES, MOST, Bundles
from qviz.structures import AppliedCorruption, Detections, EncodedImage, Inference


def images(count: int, size: int = 10) -> list[EncodedImage]:
    return [EncodedImage(f"{n}.jpg", b"%06d" % n + bytes(size)) for n in range(count)]


def answer(milliseconds: float) -> Inference:
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Inference(nothing, None, 9, 9, milliseconds)


def sizes(bundles: Bundles, given: list[EncodedImage]) -> list[int]:
    cut = list(bundles.cut(given))
    assert [image for bundle in cut for image in bundle] == given
    return [len(bundle) for bundle in cut]


@pytest.mark.parametrize(
    ("milliseconds", "expected"), [(None, [1] * 9), (10, [9]), (100, [2, 2, 2, 2, 1]), (900, [1] * 9)]
)
def test_quick_models_share_a_trip_and_slow_ones_do_not(milliseconds: float | None, expected: list[int]) -> None:
    assert sizes(Bundles(99, 2, milliseconds), images(9)) == expected


def test_large_files_go_alone() -> None:
    assert sizes(Bundles(99, 2, 1.0), images(3, BYTES)) == [1, 1, 1]


def test_a_picture_stays_whole_under_its_shifts() -> None:
    shifted = [image.under(AppliedCorruption("night", n)) for image in images(5) for n in range(1, 6)]
    assert sizes(Bundles(99, 2, 1.0), shifted) == [20, 5]
    endless = [images(1)[0].under(AppliedCorruption("exposure", n)) for n in range(2 * MOST + 1)]
    assert sizes(Bundles(99, 2, 1.0), endless) == [2 * MOST, 1]


def test_what_is_learned_holds_from_the_next_image_on() -> None:
    bundles = Bundles(99, 2)

    def given() -> Iterator[EncodedImage]:
        for number, image in enumerate(images(10)):
            if number == 4:
                bundles.learn([answer(5), answer(5)])
                bundles.learn([])  # an image that could not be read says nothing
            yield replace(image)

    assert [len(bundle) for bundle in bundles.cut(given())] == [1, 1, 1, 7]


def test_the_last_ones_are_few_at_a_time() -> None:
    assert sizes(Bundles(20, 2, 1.0), images(20)) == [6, 4, 3, 2, 1, 1, 1, 1, 1]
    assert sizes(Bundles(1, 2, 1.0), images(3)) == [1, 1, 1]  # more than was said
