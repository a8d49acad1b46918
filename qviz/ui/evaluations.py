"""Evaluations under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so an evaluation that was stopped, or a server that was, goes on where it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.analysis.evaluation import Evaluation, evaluate
from qviz.analysis.written import duration
from qviz.errors import Cancelled
from qviz.progress import TimeLeft
from qviz.structures import Dataset
from qviz.ui import calls
from qviz.ui.calls import Kept, Models


@dataclass(slots=True, eq=False)
class EvaluationJob:
    """Looked at by the page, run by a thread of its own. seconds_left: None while the pace is unknown."""

    key: Hashable
    total: int
    done: int = 0
    begun: float | None = None
    seconds_left: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Evaluation] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, found: Models, dataset: Dataset, reference_as_truth: bool) -> Evaluation:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        self.begun, self._left = time.monotonic(), TimeLeft()  # it may have waited for another one
        return evaluate(
            calls.engine(),
            found.all,
            dataset,
            on_progress=self.report,
            store=calls.kept_detections(),
            cancel=self.cancel,
            reference_as_truth=reference_as_truth,
        )

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def progress(self) -> str:
        """How far it is, how fast, and how long it will take."""
        if self.begun is None:
            return "Waiting for another evaluation"
        if self.done >= self.total:
            return "Matching objects and drawing resamples of the images"
        said = f"{self.done} of {self.total} images"
        if self.done:
            said += f" · {self.done / max(time.monotonic() - self.begun, 0.01):.1f} images/s"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _evaluations() -> Kept[EvaluationJob]:
    return Kept(32)


def evaluation(found: Models, dataset: Dataset, digest: str, reference_as_truth: bool = False) -> EvaluationJob:
    """The evaluation of these models on this dataset (known by `digest`), started once for the server."""
    key = (digest, reference_as_truth, tuple(model.identity for model in found.all))

    def start() -> EvaluationJob:
        job = EvaluationJob(key, len(dataset.images))
        job.future = calls.threads().submit(job.run, found, dataset, reference_as_truth)
        return job

    return _evaluations().get(key, start)


def begin_anew(job: EvaluationJob) -> None:
    """One that was stopped or has failed starts again when the page asks for it next."""
    _evaluations().forget(job.key)
