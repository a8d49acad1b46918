"""Calibration labs under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so a lab that was stopped goes on where it ended.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import streamlit as st

from qviz.analysis.calibration_figures import CalibrationLab
from qviz.analysis.calibration_lab import calibration_lab
from qviz.analysis.calibration_plan import Plan
from qviz.analysis.models import LoadedModel
from qviz.analysis.written import duration
from qviz.api.building import source_of
from qviz.engine import LocalEngine, importing
from qviz.errors import Cancelled
from qviz.progress import TimeLeft
from qviz.structures import Dataset, EncodedImage
from qviz.ui import calls
from qviz.ui.calls import Kept


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
                store=calls.kept_detections(), cancel=self.cancel, watch=self.watch,
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
def _jobs() -> Kept[LabJob]:
    return Kept(8)


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


def again(job: LabJob) -> LabJob:
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
