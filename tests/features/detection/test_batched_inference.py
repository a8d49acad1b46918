"""Several models on several images in one job: a failing image or model does not affect the others."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qviz.context import Context
from qviz.engine import Blob, LocalEngine
from qviz.errors import Cancelled
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.progress import Advance
from qviz.structures import EncodedImage
from tests.conftest import Sample


@pytest.fixture(scope="module")
def single_worker(loaded: dict[str, LoadedModel], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """An engine of one worker, which the test crashes on purpose. It may read the models of the other workers."""
    with LocalEngine(1) as running:
        for folder in (loaded["int8"].blob.path.parent, tmp_path_factory.getbasetemp()):
            running.allow_reading(folder)
        yield running


@pytest.fixture(scope="module")
def hens(sample: Sample) -> EncodedImage:
    return EncodedImage("hens.jpg", (sample.images / "hens.jpg").read_bytes())


def test_results_do_not_depend_on_other_models_in_the_batch(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    models = [loaded["float32"], loaded["int8"]]
    both = detect_images(Context(single_worker), models, [hens], 1, 0.25)
    for model in models:
        first = both.inferences[model.digest, hens.digest]
        second = detect_images(Context(single_worker), [model], [hens], 1, 0.25).inferences[model.digest, hens.digest]
        assert (first.detections.boxes == second.detections.boxes).all()
        assert (first.detections.scores == second.detections.scores).all()


def damaged(model: LoadedModel, blob: Blob) -> LoadedModel:
    return replace(model, blob=blob, model=replace(model.model, name="damaged.tflite", digest=blob.digest))


def test_a_failing_model_does_not_fail_the_others(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage, tmp_path: Path
) -> None:
    (tmp_path / "broken").write_bytes(b"no model")
    broken = damaged(loaded["float32"], Blob("broken", tmp_path / "broken"))
    detected = detect_images(Context(single_worker), [broken, loaded["int8"]], [hens], 1, 0.25)
    assert list(detected.inferences) == [(loaded["int8"].digest, hens.digest)]
    assert [sentence.split(":")[0] for sentence in detected.skipped] == ["damaged.tflite on hens.jpg"]


def test_a_crashing_model_does_not_fail_the_others(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    class Deadly(Blob):  # defined here, so that it is pickled by value
        def read(self) -> bytes:
            os._exit(3)

    deadly = damaged(loaded["float32"], Deadly("deadly", Path("nowhere")))
    detected = detect_images(Context(single_worker), [deadly, loaded["int8"]], [hens], 1, 0.25)
    assert len(detected.inferences[loaded["int8"].digest, hens.digest].detections)
    (sentence,) = detected.skipped
    assert sentence.startswith("damaged.tflite on hens.jpg: The model's worker process crashed.")


def test_a_single_crashing_model(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    class Deadly(Blob):
        def read(self) -> bytes:
            os._exit(3)

    deadly = damaged(loaded["float32"], Deadly("deadly", Path("nowhere")))
    detected = detect_images(Context(single_worker), [deadly], [hens], 1, 0.25)
    assert (detected.images, len(detected.skipped)) == ([], 1)


def test_an_unreadable_image_is_reported_once(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    models = [loaded["float32"], loaded["int8"]]
    detect_images(Context(single_worker), models, [hens], 1, 0.25)  # fast from now on: the next two share a job
    detected = detect_images(Context(single_worker), models, [EncodedImage("x.jpg", b"no image"), hens], 200, 0.25)
    assert detected.images == [("hens.jpg", hens.digest)]
    assert len(detected.inferences) == 2
    assert [sentence.split()[0] for sentence in detected.skipped] == ["x.jpg"]


def test_a_cancelled_run_leaves_no_jobs(
    single_worker: LocalEngine,
    loaded: dict[str, LoadedModel],
    hens: EncodedImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cancel, jobs, submit = threading.Event(), [], single_worker.submit

    def submitted(*arguments: Any) -> Future[Any]:
        jobs.append(submit(*arguments))
        return jobs[-1]

    monkeypatch.setattr(single_worker, "submit", submitted)
    images = [EncodedImage(f"{n}.jpg", hens.data + b"%06d" % n) for n in range(100)]
    context = Context(single_worker, progress=Advance(lambda done, total: cancel.set()), cancel=cancel)
    with pytest.raises(Cancelled):
        detect_images(context, [loaded["float32"], loaded["int8"]], images, 100, 0.25)
    assert sum(not job.done() for job in jobs) <= 1  # the one that runs; the others are cancelled
    assert single_worker.submit(len, "abc").result(timeout=60) == 3


class Watched(EncodedImage):
    """An image with a weak reference that shows whether it is still in memory."""

    __slots__ = ("__weakref__",)


def test_images_are_freed_at_once(
    single_worker: LocalEngine, loaded: dict[str, LoadedModel], hens: EncodedImage
) -> None:
    """Otherwise they would accumulate until Python's cycle collector runs."""
    alive: list[weakref.ref[EncodedImage]] = []

    def images() -> Iterator[EncodedImage]:
        for number in range(4):
            image = Watched(f"{number}.jpg", hens.data + b"%06d" % number)
            alive.append(weakref.ref(image))
            yield image

    gc.disable()
    try:
        detect_images(Context(single_worker), [loaded["float32"], loaded["int8"]], images(), 4, 0.25)
        single_worker.submit(len, "abc").result(timeout=60)  # the worker's thread keeps a reference to its last job
        end = time.monotonic() + 60
        while any(image() is not None for image in alive) and time.monotonic() < end:
            time.sleep(0.01)
        assert [image() for image in alive] == [None] * 4
    finally:
        gc.enable()
