"""The job tray in the sidebar of every page: jobs of this session and of its project, until they are seen or dismissed.

A project's jobs are in the tray of every page that has the project open, also after a reload.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from qviz.errors import QvizError
from qviz.formatting import as_text
from qviz.job import Job
from qviz.ui import clicks, projects, view

KEY = "qviz_tray"
REFRESH_SECONDS = 1.0
MAX_ENTRIES = 12
MAX_ERROR = 160
"""Maximum number of characters of an error's sentence in the tray. The page shows the whole sentence."""


@dataclass(slots=True, eq=False)
class Entry:
    """One job of this session or of its project.

    Attributes:
        page, query: Title of the page that shows the result, and the query parameters of its address.
        quiet: Whether the entry disappears as soon as the job finishes, because no user is waiting for it.
        forget: Drops the job, so that the next page that needs it starts it again.
        dismissed: Whether the user has seen how the job ended, or has dismissed the entry.
    """

    job: Job[Any]
    title: str
    page: str
    query: Mapping[str, str]
    quiet: bool = False
    forget: Callable[[], object] = lambda: None
    dismissed: bool = False
    number: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def is_shown(self) -> bool:
        """Whether the job is running, or has ended and the user has not seen it yet."""
        return not self.dismissed and not (self.job.finished and (self.quiet or self.job.cancelled))

    def dismiss(self) -> None:
        """Remove the entry from the tray."""
        self.dismissed = True


def entries() -> list[Entry]:
    """The entries that are shown, the latest first."""
    rows: list[Entry] = st.session_state.get(KEY, [])
    others = [row for row in _of_project() if row not in rows]
    return [row for row in (*rows, *others) if row.is_shown]


def _of_project() -> list[Entry]:
    """The jobs that any page of this project has started, or of this session if it has no project."""
    rows: list[Entry] = projects.shared().setdefault(KEY, [])
    return rows


def add(job: Job[Any], title: str, quiet: bool, forget: Callable[[], object]) -> None:
    """Put a running job into the tray; its entry links to the page that is being drawn.

    forget: Drops the job, see `Entry`.
    """
    if job.finished or get_script_run_ctx(suppress_warning=True) is None:
        return
    rows = entries()
    if all(row.job is not job for row in rows):
        page = st.session_state.get(view.PAGE, "Overview")
        entry = Entry(job, title, page, view.link_query(page), quiet, forget)
        st.session_state[KEY] = [entry, *rows][:MAX_ENTRIES]
        _keep_for_project(entry)


def _keep_for_project(entry: Entry) -> None:
    rows = _of_project()
    rows[:] = [entry, *(row for row in rows if row.is_shown and row is not entry)][:MAX_ENTRIES]


def take_along() -> None:
    """Make the jobs of a session without a project those of the project that its workspace has just become."""
    for row in reversed(entries()):
        if projects.PARAMETER not in row.query:
            row.query = {**row.query, **projects.parameter()}
            _keep_for_project(row)


def stop_quiet_jobs_of_other_projects() -> None:
    """Stop the jobs that pages of another project have started by themselves; they would slow down this project's.

    A session that still shows the other project starts such a job again.
    """
    project = projects.parameter().get(projects.PARAMETER)
    for row in entries():
        if row.quiet and not row.job.finished and row.query.get(projects.PARAMETER) != project:
            row.forget()
            row.job.stop()


def has_ended_in_view(job: Job[Any]) -> None:
    """Dismiss the entry of a job if the page in view shows its result, and not on a tab that is closed."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return
    page = st.session_state.get(view.PAGE)
    tab = view.link_query(page).get("tab") if page else None
    for row in entries():
        if row.job is job and row.page == page and row.query.get("tab") == tab:
            row.dismiss()


@clicks.fragment(run_every=REFRESH_SECONDS)
def draw(paths: Mapping[str, str]) -> None:
    """Draw all entries. `paths` maps the title of a page to its file."""
    rows = entries()
    if not rows:
        return
    with st.container(key="qviz-tray", gap="small"):
        st.html('<p class="qviz qviz-tray-head">Jobs</p>')
        for row in rows:
            _draw_entry(row, paths.get(row.page, "app.py"))
        running = [row for row in rows if row.job.started and not row.job.finished]
        if len(running) > 1:
            st.caption(f"{len(running)} jobs run side by side and share this machine, so each takes longer.")


def _draw_entry(row: Entry, path: str) -> None:
    job = row.job
    left, right = st.columns([5, 1], vertical_alignment="center", gap="small")
    left.page_link(path, label=as_text(row.title), query_params=dict(row.query), width="stretch")
    if not job.finished:
        stopping = job.cancel.is_set()
        right.button(
            "✕", on_click=job.stop, disabled=stopping, type="tertiary", help="Cancel", key=f"tray-cancel-{row.number}"
        )
        st.progress(job.share, text=as_text(_progress(job)))
        return
    right.button("✕", on_click=row.dismiss, type="tertiary", help="Dismiss", key=f"tray-dismiss-{row.number}")
    if job.error is None:
        st.page_link(path, label="Finished. See the result →", query_params=dict(row.query))
    else:
        st.html('<p class="qviz qviz-tray-failed">Failed</p>')
        st.caption(as_text(_sentence(job.error)))


def _progress(job: Job[Any]) -> str:
    """The time left, or else the current step; a short text, because the sidebar is narrow."""
    if job.cancel.is_set() or not job.started:
        return job.progress_text()
    counted = f"{job.done} of {job.total} {job.unit}".rstrip() if 0 < job.done < job.total else ""
    return job.time_left_text() or counted or job.step_text or "Running"


def _sentence(error: BaseException) -> str:
    if not isinstance(error, QvizError):
        return "A bug in qviz. Open it for the details."
    text = str(error)
    return text if len(text) <= MAX_ERROR else f"{text[: MAX_ERROR - 1]}…"
