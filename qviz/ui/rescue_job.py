"""Rescues under way, for all sessions of this server. They go on when the page is left, and can be stopped.

What was tried is kept on disk as it comes, so a rescue that was stopped, or a server that was, goes on where it ended.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import streamlit as st

from qviz.analysis.models import LoadedModel
from qviz.analysis.rescue import Budget, Rescue
from qviz.analysis.rescue_run import Terms, rescue
from qviz.analysis.written import duration
from qviz.api.building import source_of
from qviz.errors import Cancelled
from qviz.progress import TimeLeft
from qviz.quantize import builders
from qviz.structures import Dataset, EncodedImage
from qviz.ui import calls
from qviz.ui.calls import Kept


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sought. source: the data's digest, images: how many of them; calibration: the images' digests."""

    source: str
    images: int
    budget: Budget
    prefer: str
    recipes: tuple[str, ...]
    calibration: tuple[str, ...]


@dataclass(slots=True, eq=False)
class RescueJob:
    """Looked at by the page, run by a thread of its own. partial: the result so far."""

    asked: Asked
    step: str = "Waiting for another rescue"
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    partial: Rescue | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Rescue] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, reference: LoadedModel, images: tuple[EncodedImage, ...], dataset: Dataset) -> Rescue:
        """In its thread. Raises Cancelled, QvizError."""
        store = calls.kept_detections()
        folder = None if store is None else store.path.parent / "rescue"
        terms = Terms(self.asked.budget, self.asked.prefer, self.asked.recipes)
        with builders() as workers:
            return rescue(
                calls.engine(), workers, reference, source_of(reference), images, dataset, terms, store, folder,
                self.cancel, self.report, self.watch,
            )  # fmt: skip

    def report(self, text: str, done: int, total: int) -> None:
        if text != self.step:
            self.step, self._left = text, TimeLeft()
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def watch(self, found: Rescue) -> None:
        self.partial = found

    def progress(self) -> str:
        """What is done, and how long that step will take."""
        tried = 0 if self.partial is None else len(self.partial.tried)
        said = f"{self.step} · {tried} candidates tried"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left of it"

    @property
    def found(self) -> Rescue | None:
        """The result, or what is known so far."""
        if self.future.done() and self.future.exception() is None:
            return self.future.result()
        return self.partial

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> Kept[RescueJob]:
    return Kept(16)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="qviz-rescue")


def _key(reference: LoadedModel, asked: Asked) -> Hashable:
    return asked, reference.digest, reference.settings


def start(reference: LoadedModel, asked: Asked, images: tuple[EncodedImage, ...], dataset: Dataset) -> RescueJob:
    """Begin, once for the server; one that was stopped or has failed begins anew, with all that it had found."""

    def begin() -> RescueJob:
        job = RescueJob(asked)
        job.future = _threads().submit(job.run, reference, images, dataset)
        return job

    key = _key(reference, asked)
    known = _jobs().get(key, begin)
    if known.future.done() and known.future.exception() is not None:
        _jobs().forget(key)
    return _jobs().get(key, begin)
