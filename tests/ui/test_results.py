"""Results shared by all sessions: limited in bytes, the oldest are dropped first, running jobs are never lost."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from qviz.engine import Blob
from qviz.errors import ImageError, WorkerCrashed
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from qviz.ui.results import Preview, Results

JPEG = bytes(10_000)


class ByHand:
    """An engine whose jobs finish when the test completes them."""

    workers = 1

    def __init__(self) -> None:
        self.jobs: list[Future[Any]] = []

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.jobs.append(Future())
        return self.jobs[-1]

    submit_urgent = submit

    def share(self, data: bytes, digest: str) -> Blob:
        return Blob(digest, Path(digest))

    def close(self) -> None:
        return


def loaded(digest: str) -> LoadedModel:
    """Stands for a model; the engine above runs nothing."""
    return cast(LoadedModel, SimpleNamespace(digest=digest, settings="settings", blob=Blob(digest, Path(digest))))


def images(count: int) -> list[EncodedImage]:
    return [EncodedImage(f"{number}.jpg", str(number).encode()) for number in range(count)]


def test_the_oldest_results_are_dropped_and_can_be_requested_again() -> None:
    engine, shown = ByHand(), images(10)
    results = Results(engine, max_bytes=100_000)
    results.want_previews(shown, 160)
    for job in engine.jobs[1:]:
        job.set_result((4, 3, JPEG))
    previews = [results.preview(image, 160) for image in shown]
    assert previews[0] is None, "the first is still running"
    assert previews[1] is None and isinstance(previews[-1], Preview)
    assert 5 <= sum(answer is not None for answer in previews) <= 8
    engine.jobs[0].set_result((4, 3, JPEG))
    assert results.preview(shown[0], 160) is not None
    results.want_previews(shown[1:2], 160)
    assert len(engine.jobs) == 11


def test_an_urgent_request_moves_to_the_front() -> None:
    engine, shown = ByHand(), images(1)
    results = Results(engine)
    results.want_previews(shown, 160)
    results.want_previews(shown, 160, urgent=True)
    first, second = engine.jobs
    assert first.cancelled()
    second.set_result((4, 3, JPEG))
    assert results.preview(shown[0], 160) == Preview(4, 3, JPEG)


def test_an_error_has_the_image_name_of_its_session() -> None:
    engine = ByHand()
    results = Results(engine)
    results.want_previews([EncodedImage("mine.jpg", b"1"), EncodedImage("yours.jpg", b"1")], 160)
    first, second = engine.jobs
    first.set_exception(ImageError("mine.jpg is damaged."))
    second.set_exception(ImageError("yours.jpg is damaged."))
    assert str(results.preview(EncodedImage("yours.jpg", b"1"), 160)) == "yours.jpg is damaged."


def test_thousands_of_small_results_are_retained() -> None:
    engine, shown = ByHand(), images(6_000)
    results = Results(engine)
    results.want_previews(shown, 160)
    for job in engine.jobs:
        job.set_result((4, 3, JPEG))
    assert all(results.preview(image, 160) is not None for image in shown)


def test_a_model_that_ends_its_worker_is_named_and_an_image_that_does_so_is_not_its_fault() -> None:
    engine, shown = ByHand(), images(2)
    results, model = Results(engine), loaded("model")
    results.want([model], shown)
    results.want_previews(shown, 160)
    runs, previews = engine.jobs[:2], engine.jobs[2:]
    for job in (*runs, previews[0]):
        job.set_exception(WorkerCrashed("The worker process crashed."))
    assert results.crash("model", shown) == "", "no image has been read"
    previews[1].set_result((4, 3, JPEG))
    assert results.crash("model", shown) == "The worker process crashed."
    assert results.crash("model", shown[:1]) == "", "the first image ends workers itself"
    assert results.crash("another", shown) == ""
    assert isinstance(results.inference(model, shown[1]), WorkerCrashed)
    results.forget_crashes("model")
    assert results.crash("model", shown) == ""
    results.want([model], shown[1:])
    assert len(engine.jobs) == 5
