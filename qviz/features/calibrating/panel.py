"""The calibration lab in the browser: the form, the wait, what was found.

Calibration labs under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so a lab that was stopped goes on where it ended.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.features.building import source_of
from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.engine import LocalEngine, importing
from qviz.errors import Cancelled, QvizError
from qviz.features.calibrating import Plan, calibration_lab
from qviz.features.calibrating import panel_results as lab_choice
from qviz.features.calibrating import panel_results as lab_results
from qviz.features.calibrating.panel_results import Choice
from qviz.features.calibrating.plot import calibration_curve
from qviz.features.calibrating.result import CalibrationLab
from qviz.features.calibrating.text import lab_verdict, stability_sentence
from qviz.features.detection.models import LoadedModel
from qviz.formatting import duration
from qviz.progress import TimeLeft
from qviz.structures import Dataset, EncodedImage
from qviz.ui import clicks, page, server
from qviz.ui.page import Page


@dataclass(slots=True, eq=False)
class LabJob:
    """Looked at by the page, run by a thread of its own. partial: what is known so far; data: what it is judged on."""

    reference: LoadedModel
    images: tuple[EncodedImage, ...]
    data: Dataset
    plan: Plan
    key: Hashable
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    partial: CalibrationLab | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[CalibrationLab] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self) -> CalibrationLab:
        """In its thread. Raises Cancelled, DatasetError, QvizError.

        On workers of its own: the files of some forty variants go when they end, and the session's workers stay free.
        """
        self._left = TimeLeft()
        source = source_of(self.reference)
        with LocalEngine(warm_up=importing("qviz.detector")) as engine:
            return calibration_lab(
                engine, self.reference, source, self.images, self.data, self.plan, on_progress=self.report,
                store=server.detection_store(), cancel=self.cancel, watch=self.watch,
            )  # fmt: skip

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def watch(self, found: CalibrationLab) -> None:
        self.partial = found

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if not self.done:
            return "Waiting for workers"
        tried = len(list(self.partial.rows())) if self.partial is not None else 0
        early = "Measuring ranges" if self.partial is None else "Building the first variants"
        said = f"{tried} calibrations built and measured" if tried else early
        left = self.seconds_left
        return said if left is None or self.done >= self.total else f"{said} · {duration(left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[LabJob]:
    return LRUCache(8)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="qviz-lab")


def start(reference: LoadedModel, images: tuple[EncodedImage, ...], data: Dataset, digest: str, plan: Plan) -> LabJob:
    """Begin, or join who began the same. digest: of the dataset."""
    seen = tuple(image.digest for image in images)
    key = (reference.digest, reference.settings, seen, digest, len(data.images), plan)

    def begin() -> LabJob:
        job = LabJob(reference, images, data, plan, key)
        job.future = _threads().submit(job.run)
        return job

    return _jobs().get(key, begin)


def restarted(job: LabJob) -> LabJob:
    """One that was stopped or has failed, begun anew, once."""
    fresh = replace(
        job, done=0, total=1, seconds_left=None, partial=None, cancel=threading.Event(), future=Future()
    )  # fmt: skip

    def begin() -> LabJob:
        fresh.future = _threads().submit(fresh.run)
        return fresh

    if _jobs().get(job.key, begin) is job:
        _jobs().forget(job.key)
    return _jobs().get(job.key, begin)


BEAT = 0.5
ASKED = "qviz_lab_asked"


@dataclass(slots=True, eq=False)
class Asked:
    """What this session asked for last, of that reference."""

    job: LabJob
    reference: str


def show(here: Page) -> None:
    """The form, the progress and what came of it."""
    assert here.models is not None, "pages without a model stop before"
    place = st.container()
    try:
        _form(here)
    except QvizError as error:
        st.text(str(error))
    asked: Asked | None = st.session_state.get(ASKED)
    if asked is None or asked.reference != here.models.reference.digest:
        with place:
            page.verdict(
                "Find out how many images calibration needs, which ones, and what wrong ones cost.",
                "Calibrations on 1, 2, 4, … images, without outliers and with the usual mistakes, each really built"
                " and judged.",
            )
    elif not asked.job.future.done():
        with place:
            page.verdict(f"Trying calibrations of {here.models.name(here.models.reference)} …")
        _waiting(asked.job, _colour(here))
    else:
        _ended(here, place, asked)


def _form(here: Page) -> None:
    choice = lab_choice.form(here)
    if choice.refusal:
        st.text(choice.refusal)
    begin = partial(_begin, here, choice)
    clicks.button(st, "Run the lab", begin, "lab-start", st.rerun, disabled=bool(choice.refusal), type="primary")


def _begin(here: Page, choice: Choice) -> None:
    assert here.models is not None, "pages without a model stop before"
    assert choice.data is not None, "a choice without data is refused"
    reference = here.models.reference
    job = start(reference, choice.images, choice.data, choice.digest, choice.plan)
    if job.future.done() and job.future.exception() is not None:
        job = restarted(job)
    st.session_state[ASKED] = Asked(job, reference.digest)


def _colour(here: Page) -> str:
    """What a further variant would have."""
    assert here.models is not None, "pages without a model stop before"
    return variant_colour(len(here.models.variants))


@st.fragment(run_every=BEAT)
def _waiting(job: LabJob, colour: str) -> None:
    """A bar and the curve so far; when all is there the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="lab-cancel")
    found = job.partial
    if found is not None and found.stability is not None:
        lab_choice.note(stability_sentence(found))
    if found is not None and found.curve:
        tried = sum(len(point.tried) for point in found.curve)
        st.plotly_chart(calibration_curve(found, colour), width="stretch", key=f"lab-partial-{tried}")


def _ended(here: Page, place: DeltaGenerator, asked: Asked) -> None:
    error = asked.job.future.exception()
    if isinstance(error, QvizError):
        with place:
            page.verdict("Stopped; what was detected so far is kept." if asked.job.stopped else "The lab has failed.")
        if not asked.job.stopped:
            st.text(str(error))

        def again() -> None:
            st.session_state[ASKED] = Asked(restarted(asked.job), asked.reference)

        clicks.button(st, "Go on" if asked.job.stopped else "Try again", again, "lab-again", st.rerun)
        return
    found = asked.job.future.result()
    with place:
        page.verdict(lab_verdict(found), lab_results.reminder(found))
    lab_results.show(found, asked.job.data, _colour(here))
