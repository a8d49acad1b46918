"""Several models on several images: one job, and each model's and image's fate its own."""

from __future__ import annotations

import gc
import os
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.engine import Blob, LocalEngine
from qviz.errors import ImageError, ModelError, WorkerCrashed
from qviz.features.detection.batching import How, together
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from tests.conftest import Sample

HOW = How(0.25)


@pytest.fixture(scope="module")
def alone() -> Iterator[LocalEngine]:
    """Its worker is lost on purpose."""
    with LocalEngine(1) as running:
        yield running


@pytest.fixture(scope="module")
def hens(sample: Sample) -> EncodedImage:
    return EncodedImage("hens.jpg", (sample.images / "hens.jpg").read_bytes())


def test_each_model_answers_as_it_does_alone(
    alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    models = [loaded["float32"], loaded["int8"]]
    both = [answer.result(timeout=60) for answer in together(alone, [(hens, models)], HOW)]
    one_by_one = [together(alone, [(hens, [model])], HOW)[0].result(timeout=60) for model in models]
    for first, second in zip(both, one_by_one, strict=True):
        assert (first.detections.boxes == second.detections.boxes).all()
        assert (first.detections.scores == second.detections.scores).all()


def broken(model: LoadedModel, folder: Path) -> LoadedModel:
    path = folder / "broken"
    path.write_bytes(b"no model")
    return replace(model, blob=Blob("broken", path))


def test_a_model_that_fails_takes_no_other_along(
    alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage, tmp_path: Path
) -> None:
    models = [broken(loaded["float32"], tmp_path), loaded["int8"]]
    first, second = together(alone, [(hens, models)], HOW)
    with pytest.raises(ModelError):
        first.result(timeout=60)
    assert len(second.result(timeout=60).detections)


def test_neither_does_one_that_kills_the_worker(
    alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    class Deadly(Blob):  # made here, so that it travels by value
        def read(self) -> bytes:
            os._exit(3)

    deadly = replace(loaded["float32"], blob=Deadly("deadly", Path("nowhere")))
    first, second = together(alone, [(hens, [deadly, loaded["int8"]])], HOW)
    with pytest.raises(WorkerCrashed):
        first.result(timeout=60)
    assert len(second.result(timeout=60).detections)


def test_an_image_that_cannot_be_read_fails_for_all(alone: LocalEngine, loaded: dict[str, LoadedModel]) -> None:
    for answer in together(alone, [(EncodedImage("x.jpg", b"no image"), [loaded["float32"], loaded["int8"]])], HOW):
        with pytest.raises(ImageError):
            answer.result(timeout=60)


def test_cancelled_together(alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage) -> None:
    waiting = [together(alone, [(hens, [loaded["float32"], loaded["int8"]])], HOW) for _ in range(20)]
    last = waiting[-1]
    assert all(answer.cancel() for answer in last)
    assert len(waiting[0][1].result(timeout=60).detections)
    assert all(answer.cancelled() for answer in last)


def test_a_bad_image_takes_no_other_along(
    alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    models = [loaded["float32"], loaded["int8"]]
    answers = together(alone, [(EncodedImage("x.jpg", b"no image"), models), (hens, models)], HOW)
    for answer in answers[:2]:
        with pytest.raises(ImageError, match=r"x\.jpg"):
            answer.result(timeout=60)
    assert all(len(answer.result(timeout=60).detections) for answer in answers[2:])


def test_what_is_over_is_let_go_of_at_once(
    alone: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    """Images would gather, megabyte by megabyte, until Python looks for cycles."""
    answers = together(alone, [(hens, [loaded["float32"], loaded["int8"]])], HOW)
    for answer in answers:
        answer.result(timeout=60)
    held = weakref.ref(answers[0])
    gc.disable()
    try:
        del answers, answer
        end = time.monotonic() + 5  # the thread that told of it may be about to leave
        while held() is not None and time.monotonic() < end:
            time.sleep(0.01)
        assert held() is None
    finally:
        gc.enable()
