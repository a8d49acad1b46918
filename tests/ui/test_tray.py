"""The job tray: what runs, waits, has finished or failed, until it was seen or dismissed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import ImageError
from qviz.job import Job
from qviz.ui import tray
from qviz.ui.tray import Entry
from tests.conftest import ROOT

SECONDS = 30


@pytest.fixture(scope="module")
def app() -> AppTest:
    running = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    return running.switch_page("pages/glossary.py").run()


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as running:
        yield running


def _texts(app: AppTest) -> str:
    progress = [block.proto.text for block in app.sidebar.get("progress")]
    links = [block.proto.label for block in app.sidebar.get("page_link")]
    texts = [*progress, *links, *(caption.value for caption in app.sidebar.caption)]
    return " | ".join(texts).replace("\\", "")


def test_jobs_are_shown_until_they_are_dismissed(
    app: AppTest, engine: LocalEngine, executor: ThreadPoolExecutor
) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def compute(context: Context) -> int:
        context.progress.step("Counting")
        context.progress.advance(3, 8)
        begun.set()
        assert go_on.wait(SECONDS)
        return 1

    def fail(context: Context) -> int:
        raise ImageError("cat.jpg is empty.")

    running, queued, stopped, failing = (Job[int](unit="images") for _ in range(4))
    for job, function in ((running, compute), (queued, compute), (stopped, compute), (failing, fail)):
        job.start(executor, function, Context(engine))
    assert begun.wait(SECONDS)
    jobs = {"First": running, "Second": queued, "Third": stopped, "Fourth": failing}
    rows = [Entry(job, title, "Variants", {"tab": "Train"}) for title, job in jobs.items()]
    app.session_state[tray.KEY] = rows
    app.run()
    assert not app.exception
    assert "3 of 8 images" in _texts(app)
    assert _texts(app).count("Queued: it starts when the job before it is finished") == 3
    app.button(key=f"tray-cancel-{rows[2].number}").click().run()
    assert stopped.cancelled and stopped.finished, "one that waits ends at once"
    assert "Third" not in _texts(app)
    go_on.set()
    wait([running.future, queued.future, failing.future], SECONDS)
    app.run()
    assert _texts(app).count("Finished. See the result →") == 2
    assert "cat.jpg is empty." in _texts(app)
    for row in (rows[0], rows[1], rows[3]):
        app.button(key=f"tray-dismiss-{row.number}").click().run()
    assert not any(title in _texts(app) for title in jobs)


def test_a_job_started_by_the_page_itself_leaves_the_tray_at_its_end(
    engine: LocalEngine, executor: ThreadPoolExecutor
) -> None:
    job: Job[int] = Job()
    entry = Entry(job, "Operators in float", "Layers", {}, quiet=True)
    assert entry.is_shown
    job.start(executor, lambda context: 1, Context(engine))
    job.future.result(SECONDS)
    assert not entry.is_shown


def test_a_job_that_the_page_of_another_project_started_by_itself_is_stopped(app: AppTest) -> None:
    forgotten: list[str] = []
    jobs = {"": Job[int](), "other": Job[int](), "by hand": Job[int]()}
    rows = [
        Entry(job, name, "Overview", {"project": name}, name != "by hand", partial(forgotten.append, name))
        for name, job in jobs.items()
    ]
    rows[0].query = {}  # the sample is not a project
    app.session_state[tray.KEY] = rows
    app.run()
    assert not app.exception
    assert [name for name, job in jobs.items() if job.cancel.is_set()] == forgotten == ["other"]
