"""A long computation in a thread: progress, partial result, cancel, error."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import Cancelled, ImageError
from qviz.job import Job

SECONDS = 30


@pytest.fixture
def executor() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(1) as running:
        yield running  # type: ignore[misc]


def test_a_job_reports_progress_and_returns_its_result(engine: LocalEngine, executor: ThreadPoolExecutor) -> None:
    looked_at, watched = threading.Event(), threading.Event()

    def compute(context: Context) -> int:
        context.progress.step("Counting")
        context.progress.advance(3, 8)
        context.progress.partial(41)
        looked_at.set()
        assert watched.wait(SECONDS)
        return 42

    job: Job[int] = Job(unit="images")
    assert job.progress_text() == "Queued: it starts when the job before it is finished"
    job.start(executor, compute, Context(engine))
    assert looked_at.wait(SECONDS)
    assert (job.share, job.result, job.finished) == (3 / 8, 41, False)
    assert job.progress_text().startswith("Counting · 3 of 8 images · ")
    watched.set()
    assert job.future.result(SECONDS) == job.result == 42
    assert job.finished and not job.cancelled and job.error is None


def test_a_cancelled_job_has_its_partial_result(engine: LocalEngine, executor: ThreadPoolExecutor) -> None:
    begun = threading.Event()

    def compute(context: Context) -> int:
        context.progress.partial(1)
        begun.set()
        assert context.cancel is not None and context.cancel.wait(SECONDS)
        context.check_cancelled()
        return 2

    job: Job[int] = Job()
    job.start(executor, compute, Context(engine))
    assert begun.wait(SECONDS)
    job.cancel.set()
    assert job.progress_text() == "Stopping"
    wait([job.future], SECONDS)
    assert job.cancelled and isinstance(job.error, Cancelled) and job.result == 1


def test_a_job_cancelled_before_it_starts_does_nothing(engine: LocalEngine, executor: ThreadPoolExecutor) -> None:
    job: Job[int] = Job()
    job.cancel.set()
    job.start(executor, lambda context: pytest.fail("it ran"), Context(engine))
    wait([job.future], SECONDS)
    assert job.cancelled


def test_an_error_is_available_after_the_job(engine: LocalEngine, executor: ThreadPoolExecutor) -> None:
    def compute(context: Context) -> int:
        raise ImageError("cat.jpg is empty.")

    job: Job[int] = Job()
    job.start(executor, compute, Context(engine))
    wait([job.future], SECONDS)
    assert isinstance(job.error, ImageError) and not job.cancelled and job.result is None
