"""How many images go to a worker in one job."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from qviz.features.detection.inference import MAX_BATCH, MAX_BATCH_BYTES, Batcher
from qviz.structures import AppliedCorruption, Detections, EncodedImage, Inference


def images(count: int, size: int = 10) -> list[EncodedImage]:
    return [EncodedImage(f"{n}.jpg", b"%06d" % n + bytes(size)) for n in range(count)]


def answer(milliseconds: float) -> Inference:
    no_objects = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Inference(no_objects, None, 9, 9, milliseconds)


def sizes(batcher: Batcher, images: list[EncodedImage]) -> list[int]:
    batches = list(batcher.batches(images))
    assert [image for batch in batches for image in batch] == images
    return [len(batch) for batch in batches]


@pytest.mark.parametrize(
    ("milliseconds", "expected"), [(None, [1] * 9), (10, [9]), (100, [2, 2, 2, 2, 1]), (900, [1] * 9)]
)
def test_fast_models_get_several_images_per_job(milliseconds: float | None, expected: list[int]) -> None:
    assert sizes(Batcher(99, 2, milliseconds), images(9)) == expected


def test_large_files_get_their_own_batch() -> None:
    assert sizes(Batcher(99, 2, 1.0), images(3, MAX_BATCH_BYTES)) == [1, 1, 1]


def test_corrupted_versions_of_a_picture_stay_together() -> None:
    corrupted = [image.under(AppliedCorruption("night", n)) for image in images(5) for n in range(1, 6)]
    assert sizes(Batcher(99, 2, 1.0), corrupted) == [20, 5]
    endless = [images(1)[0].under(AppliedCorruption("exposure", n)) for n in range(2 * MAX_BATCH + 1)]
    assert sizes(Batcher(99, 2, 1.0), endless) == [2 * MAX_BATCH, 1]


def test_a_measured_time_counts_from_the_next_image_on() -> None:
    batcher = Batcher(99, 2)

    def observing() -> Iterator[EncodedImage]:
        for number, image in enumerate(images(10)):
            if number == 4:
                batcher.observe([answer(5), answer(5)])
                batcher.observe([])  # an image that could not be read changes nothing
            yield replace(image)

    assert [len(batch) for batch in batcher.batches(observing())] == [1, 1, 1, 7]


def test_the_last_batches_are_small() -> None:
    assert sizes(Batcher(20, 2, 1.0), images(20)) == [6, 4, 3, 2, 1, 1, 1, 1, 1]
    assert sizes(Batcher(1, 2, 1.0), images(3)) == [1, 1, 1]  # more than expected
