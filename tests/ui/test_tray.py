"""The job tray: what runs, waits, has finished or failed, until it was seen or dismissed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import ImageError, ProjectChanged
from qviz.job import Job
from qviz.ui import projects, tray
from qviz.ui.project_document import to_document
from qviz.ui.tray import Entry
from qviz.ui.workspace import Workspace
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


def test_a_job_of_a_project_is_in_the_tray_of_each_page_that_opens_it(
    engine: LocalEngine, executor: ThreadPoolExecutor
) -> None:
    project = projects.projects().new_id()
    projects.projects().save(project, to_document(Workspace(name="dusk"))[0], {})
    go_on, job = threading.Event(), Job[bool]()
    job.start(executor, lambda context: go_on.wait(SECONDS), Context(engine))
    row = Entry(job, "Build: int8", "Variants", {"tab": "Build", "project": project})
    projects._shared().put(project, {tray.KEY: [row]})
    pages = [AppTest.from_file(str(ROOT / "app.py"), default_timeout=180) for _ in range(2)]
    for page in pages:
        page.query_params["project"] = project
        page.switch_page("pages/glossary.py").run()
        assert "Build: int8" in _texts(page)
    pages[0].button(key=f"tray-cancel-{row.number}").click().run()
    assert job.cancel.is_set()
    go_on.set()
    wait([job.future], SECONDS)
    row.job = Job[bool]()
    row.job.future.set_result(True)
    pages[1].run()
    assert "Finished. See the result →" in _texts(pages[1])
    stranger = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).switch_page("pages/glossary.py").run()
    assert "Build: int8" not in _texts(stranger)


def test_the_same_change_on_two_pages_is_one_change(tmp_path: Path) -> None:
    store = projects.Projects(tmp_path)
    project = store.new_id()
    first = store.save(project, {"models": []}, {})
    second = store.save(project, {"models": [{"name": "int8"}]}, {}, first)
    assert projects._written(store, project, {"models": ({"name": "int8"},)}, {}, first) == second
    with pytest.raises(ProjectChanged):
        projects._written(store, project, {"models": [{"name": "other"}]}, {}, first)
