"""Studies under way, for all sessions of this server. They go on when the page is left, and can be stopped.

The study is the work; the page is made of it in a moment, so other sections and notes cost no second run.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.analysis.study import Made, Study
from qviz.analysis.study_extras import with_extras
from qviz.analysis.study_work import Wanted, make_study
from qviz.analysis.written import duration
from qviz.errors import Cancelled
from qviz.progress import TimeLeft
from qviz.structures import Dataset
from qviz.ui import calls
from qviz.ui.calls import Kept, Models

BEAT = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """What is run. also: of `EXTRAS`, which take minutes; annotated: whether AP is computed."""

    wanted: Wanted
    annotated: bool
    also: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class StudyJob:
    """Looked at by the page, run by a thread of its own."""

    key: Hashable
    work: Work
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Study] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, found: Models, dataset: Dataset, made: Made) -> Study:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        engine, store, annotated = (
            calls.engine(),
            calls.kept_detections(),
            dataset if self.work.annotated else None,
        )
        study = make_study(
            engine, found.all, dataset.images, annotated, self.work.wanted, made, self.report, store=store,
            cancel=self.cancel,
        )  # fmt: skip
        self._left = TimeLeft()
        return with_extras(
            engine, study, found.all, dataset.images, annotated, self.work.also, self.report, store=store,
            cancel=self.cancel,
        )  # fmt: skip

    def report(self, done: int, total: int) -> None:
        if self.cancel.is_set():
            raise Cancelled("The report was stopped.")  # a measurement of latency has no other way out
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.done >= self.total:
            return "Layers, pictures and charts"
        said = f"{self.done} of {self.total} images"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> Kept[StudyJob]:
    return Kept(8)


def study(found: Models, dataset: Dataset, told: Hashable, work: Work, made: Made) -> StudyJob:
    """Started once for the server. told: what the dataset's bytes are known by."""
    key = tuple(model.identity for model in found.all), told, work

    def start() -> StudyJob:
        job = StudyJob(key, work)
        job.future = calls.threads().submit(job.run, found, dataset, made)
        return job

    return _jobs().get(key, start)


@st.fragment(run_every=BEAT)
def wait_for(job: StudyJob) -> None:
    """A bar and a way out until the study is there; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="report-cancel")


def settled(job: StudyJob) -> Study | None:
    """The study, or None where it was stopped; raises what made it fail, once: the next look starts anew."""
    if job.future.exception() is not None:
        _jobs().forget(job.key)
    return None if job.stopped else job.future.result()
