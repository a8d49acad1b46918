"""The frame of the Accuracy page: what is measured, the wait for it, the headline, the choice of variant and class.

Evaluations under way, for all sessions of this server. They go on when the page is left, and can be stopped.

Detections are kept as they come, so an evaluation that was stopped, or a server that was, goes on where it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial

import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import REFERENCE, variant_colour
from qviz.errors import Cancelled, QvizError
from qviz.features.accuracy import Evaluation, LossDetail, evaluate
from qviz.features.accuracy import panel_tables as accuracy_tables
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.plot import variant_losses
from qviz.features.accuracy.text import loss_verdict
from qviz.features.accuracy.truth import REMARK
from qviz.formatting import as_text, duration
from qviz.progress import TimeLeft
from qviz.structures import Dataset
from qviz.ui import clicks, dataset_choice, page, server, view
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page
from qviz.ui.server import Models


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
            server.engine(),
            found.all,
            dataset,
            on_progress=self.report,
            store=server.detection_store(),
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
def _evaluations() -> LRUCache[EvaluationJob]:
    return LRUCache(32)


def evaluation(found: Models, dataset: Dataset, digest: str, reference_as_truth: bool = False) -> EvaluationJob:
    """The evaluation of these models on this dataset (known by `digest`), started once for the server."""
    key = (digest, reference_as_truth, tuple(model.identity for model in found.all))

    def start() -> EvaluationJob:
        job = EvaluationJob(key, len(dataset.images))
        job.future = server.threads().submit(job.run, found, dataset, reference_as_truth)
        return job

    return _evaluations().get(key, start)


def begin_anew(job: EvaluationJob) -> None:
    """One that was stopped or has failed starts again when the page asks for it next."""
    _evaluations().forget(job.key)


BEAT = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """An evaluation and how its models are named and coloured; names: short ones, the reference first."""

    evaluation: Evaluation
    source: Source
    names: tuple[str, ...]

    @property
    def losses(self) -> Mapping[str, VariantLoss]:
        return dict(zip(self.names[1:], self.evaluation.losses, strict=True))

    @property
    def details(self) -> Mapping[str, LossDetail]:
        return dict(zip(self.names[1:], self.evaluation.details, strict=True))

    @property
    def colours(self) -> list[str]:
        return [REFERENCE, *(variant_colour(i) for i in range(len(self.names) - 1))]

    def colour(self, name: str) -> str:
        return self.colours[self.names.index(name)]


def ask(here: Page) -> None:
    """Nothing is annotated: what can be done without, and what that means."""
    page.verdict("Nothing is annotated: drop annotations to measure accuracy, or take the reference for the truth.")
    st.text(_bias())

    agree = clicks.keep(dataset_choice.AGREED, True)
    clicks.button(st, "Evaluate with the reference as truth", agree, "accuracy-agree", st.rerun, type="primary")


def _bias() -> str:
    """What it means that the reference is the truth; there may be annotations that are left aside."""
    said = REMARK.removeprefix("Nothing is annotated: ")
    return said[0].upper() + said[1:]


def evaluated(here: Page, source: Source) -> Finding | None:
    """The evaluation, or None while it is under way or where it was stopped."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    job = evaluation(found, source.dataset, source.digest, source.reference_as_truth)
    if not job.future.done():
        page.verdict(f"Evaluating {len(found.all)} models on {len(source.dataset.images)} images …")
        _waiting(job)
        return None
    error = job.future.exception()
    if isinstance(error, QvizError):
        _ended(job, error)
        return None
    return Finding(job.future.result(), source, tuple(found.name(model) for model in found.all))


@st.fragment(run_every=BEAT)
def _waiting(job: EvaluationJob) -> None:
    """A bar until the evaluation is there; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="accuracy-cancel")


def _ended(job: EvaluationJob, error: QvizError) -> None:
    """Stopped by somebody, or failed: what was detected so far is kept."""
    if job.stopped:
        page.verdict(f"Stopped after {job.done} of {job.total} images.", "What was detected so far is kept.")
    else:
        page.verdict("The evaluation has failed.", str(error))
    label = "Go on" if job.stopped else "Try again"
    clicks.button(st, label, partial(begin_anew, job), "accuracy-again", st.rerun, type="primary")


def headline(finding: Finding) -> None:
    """The finding in a sentence, and what it stands on."""
    result = finding.evaluation
    page.verdict(
        loss_verdict(finding.names[0], result.models[0].ap, finding.losses, result.reference_as_truth),
        f"{result.dataset}: {result.images} images, {result.annotations} objects. AP is averaged over IoU .50 to .95"
        " (pycocotools), ×100, higher is better. In brackets: 95% interval, from a bootstrap over the images.",
    )
    if result.reference_as_truth:
        st.html(f'<div class="qviz qviz-note"><b>{_bias()}</b></div>')


def overview(finding: Finding) -> None:
    """AP of every model beside the losses with their intervals."""
    left, right = st.columns([2, 1])
    with left:
        accuracy_tables.show(accuracy_tables.scores(finding.evaluation, finding.names))
    if finding.losses:
        losses = {name: loss.ap for name, loss in finding.losses.items()}
        with right:
            st.plotly_chart(variant_losses(losses, finding.colours[1:]), width="stretch", key="accuracy-losses")
    said = [sentence for sentence in finding.evaluation.skipped if sentence != REMARK]
    for sentence in [f"Left out: {sentence}" for sentence in said[:8]] + server.store_remarks():
        st.text(sentence)


def choose(here: Page, finding: Finding) -> tuple[str, str]:
    """(variant, class) in view: those chosen, else the variant that loses most and its worst class."""
    losses = finding.losses
    worst = max(losses, key=lambda name: losses[name].ap.value or 0.0)
    asked = next((name for name in here.view.variants if name in losses), worst)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    variant = (
        left.segmented_control(
            "Variant", list(losses), default=asked, format_func=as_text, key=f"accuracy-{asked}", wrap=True
        )
        or asked
    )
    if variant != asked:
        view.change(variants=(variant,))
        st.rerun()
    rows = {row.label: row for row in losses[variant].per_class}
    kept = view.current().label
    label = kept if kept in rows else _first_class(losses[variant])
    with right:
        st.selectbox(
            "Class",
            list(rows),
            index=list(rows).index(label),
            format_func=lambda name: f"{name} · {rows[name].truths}",
            key=f"accuracy-class-{variant}-{label}",
            on_change=lambda: take(st.session_state[f"accuracy-class-{variant}-{label}"]),
        )
    return variant, label


def _first_class(loss: VariantLoss) -> str:
    """The worst class that is no chance, else the worst one with an interval, else the worst."""
    return max(
        loss.per_class, key=lambda row: (row.loss.significant or False, row.loss.low is not None, row.loss.value or 0)
    ).label


def take(label: str) -> None:
    """Another class comes into view."""
    view.change(label=label)
