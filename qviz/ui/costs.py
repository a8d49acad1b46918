"""What models cost, measured for a page: the job, its controls and its progress."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.analysis.profile import profile
from qviz.analysis.profile_figures import Profile
from qviz.analysis.written import duration
from qviz.errors import Cancelled
from qviz.progress import TimeLeft
from qviz.ui import calls, clicks
from qviz.ui.calls import Models
from qviz.ui.page import Page

BEAT = 0.5
ASKED = "qviz_cost_asked"
RUNS = (20, 50, 200)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is measured."""

    threads: tuple[int, ...]
    runs: int


@dataclass(slots=True, eq=False)
class CostJob:
    """A measurement under way. seconds_left: None while the pace is unknown."""

    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Profile] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def report(self, done: int, total: int) -> None:
        """Between two pieces of work. Raises Cancelled where somebody asked to stop."""
        if self.cancel.is_set():
            raise Cancelled("The measurement was stopped.")
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> calls.Kept[CostJob]:
    return calls.Kept(16)


def _models_key(found: Models) -> Hashable:
    return tuple(model.identity for model in found.all)


def _key(found: Models, asked: Asked) -> Hashable:
    return _models_key(found), asked


def _said(found: Models) -> Asked | None:
    """What this session asked for; for other models it has to ask anew."""
    models, asked = st.session_state.get(ASKED, (None, None))
    return asked if models == _models_key(found) else None


def measurement(here: Page) -> CostJob | None:
    """What this session asked for these models last, started once for the server; None where it asked for nothing."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    asked = _said(found)
    if asked is None:
        return None

    def start() -> CostJob:
        begun = CostJob()
        begun.future = calls.threads().submit(
            profile, calls.engine(), found.all, asked.threads, asked.runs, begun.report
        )
        return begun

    return _jobs().get(_key(found, asked), start)


def ask(here: Page) -> None:
    """Thread counts, runs, and the button. Detections under way would disturb the measurement, so it waits for them."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    pending = calls.results().pending(found.all, here.workspace.images)
    left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
    counts = sorted({count for count in (1, 2, 4, os.cpu_count() or 1) if count <= (os.cpu_count() or 1)})
    threads = left.pills("Threads", counts, selection_mode="multi", default=[1], key="cost-threads") or [1]
    runs = middle.segmented_control("Runs of each model", RUNS, default=RUNS[1], key="cost-runs") or RUNS[1]
    asked = Asked(tuple(sorted(threads)), runs)
    job = measurement(here)
    busy = pending > 0 or (job is not None and not job.future.done())

    def begin() -> None:
        _jobs().forget(_key(found, asked))
        st.session_state[ASKED] = _models_key(found), asked

    label = "Measure" if job is None or busy else "Measure again"
    clicks.button(right, label, begin, "cost-start", st.rerun, disabled=busy, type="primary")
    st.caption("Latency needs a quiet machine: leave it alone meanwhile.")
    if pending:
        _wait_for_detections(here)


@st.fragment(run_every=BEAT)
def _wait_for_detections(here: Page) -> None:
    assert here.models is not None, "pages without a model stop before"
    left = calls.results().pending(here.models.all, here.workspace.images)
    if not left:
        st.rerun()
    st.caption(f"{left} detections are still running; the measurement can begin after them.")


@st.fragment(run_every=BEAT)
def wait_for(job: CostJob) -> None:
    """A bar and a way out until all is there; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping, said = job.cancel.is_set(), "Memory, then latency in turns, then operator by operator"
    if job.seconds_left is not None:
        said += f" · {duration(job.seconds_left)} left"
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else said)
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="cost-cancel")


def forget(here: Page) -> None:
    """A measurement that was stopped is asked for no more."""
    assert here.models is not None, "pages without a model stop before"
    asked = _said(here.models)
    if asked is not None:
        _jobs().forget(_key(here.models, asked))
    st.session_state.pop(ASKED, None)
