"""The trade-off of a page: what was measured beside what was kept, as a picture and a table.

What models cost, measured for a page: the job, its controls and its progress.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.cache import LRUCache
from qviz.chart_style import REFERENCE, variant_colour
from qviz.errors import Cancelled
from qviz.features.cost import ModelProfile, Profile, profile
from qviz.features.cost.plot import operator_times, tradeoff_scatter
from qviz.features.cost.tradeoff import Point, Tradeoff, tradeoff, tradeoff_verdict
from qviz.formatting import duration, milliseconds
from qviz.progress import TimeLeft
from qviz.ui import clicks, glossary, page, server
from qviz.ui.page import Page
from qviz.ui.server import Models

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
def _jobs() -> LRUCache[CostJob]:
    return LRUCache(16)


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
        begun.future = server.threads().submit(
            profile, server.engine(), found.all, asked.threads, asked.runs, begun.report
        )
        return begun

    return _jobs().get(_key(found, asked), start)


def ask(here: Page) -> None:
    """Thread counts, runs, and the button. Detections under way would disturb the measurement, so it waits for them."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    pending = server.results().pending(found.all, here.workspace.images)
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
    left = server.results().pending(here.models.all, here.workspace.images)
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


T = TypeVar("T")

NUMBER = {
    "size, MB": "%.3g", "p50, ms": "%.3g", "p95, ms": "%.3g", "CPU, ms": "%.3g", "peak, MB": "%.3g",
    "agreement": "%.2f",
}  # fmt: skip


def agreements(here: Page) -> dict[str, float | None]:
    """short name -> agreement with the reference over the images run so far, None where there is none."""
    found = _models(here)
    known: dict[str, float | None] = {found.name(found.reference): 1.0 if here.workspace.images else None}
    for variant in found.variants:
        compared = server.compared(found, variant, here.workspace.images, here.view.score)
        known[found.name(variant)] = compared.summary.agreement if compared.images else None
    return known


def weighed(here: Page, rows: tuple[ModelProfile, ...]) -> Tradeoff:
    """The models measured at one thread count, with their agreement; in the order of loading."""
    found, quality = _models(here), agreements(here)
    names = [found.names[row.digest] for row in rows]
    return tradeoff([Point(name, row.bytes, row.p50_ms, quality[name]) for name, row in zip(names, rows, strict=True)])


def colours(found: Models) -> dict[str, str]:
    """By short name."""
    known = {found.name(variant): variant_colour(i) for i, variant in enumerate(found.variants)}
    return {found.name(found.reference): REFERENCE} | known


def show(here: Page) -> None:
    """The button, and what was measured once it is there; the finding goes to the top."""
    found, headline = _models(here), st.container()
    server.results().want(found.all, here.workspace.images)
    ask(here)
    job = measurement(here)
    if job is not None and job.stopped:
        forget(here)
        job = None
    if job is None:
        with headline:
            page.verdict(
                "Measure to see what each variant gains, and at what price.",
                "Size, latency and memory against the agreement with the reference on your images.",
            )
    elif not job.future.done():
        with headline:
            page.verdict(f"Measuring {len(found.all)} models on this machine …")
        wait_for(job)
    else:
        _show(here, headline, job.future.result())


def _show(here: Page, headline: DeltaGenerator, measured: Profile) -> None:
    for sentence in (*measured.skipped, *measured.remarks):
        st.text(sentence)
    left, right = st.columns([1, 1])
    threads = _chosen(left, "Shown with", sorted({row.threads for row in measured.models}), _told)
    x = _chosen(right, "Across", ["latency", "size"], str)
    rows = measured.at(threads)
    known = weighed(here, rows)
    with headline:
        page.verdict(
            tradeoff_verdict(known, _models(here).name(_models(here).reference)),
            "Dominated: another model is no worse in size, latency (within 5%) and agreement, and better in one.",
        )
    scatter(here, known, x)
    table(known, rows)
    st.subheader("Where the time goes")
    operators(here, rows)


def _chosen(place: DeltaGenerator, label: str, options: list[T], told: Callable[[T], str]) -> T:
    """One of them; the first where nobody chose, or what was chosen is gone."""
    chosen = place.segmented_control(label, options, default=options[0], format_func=told, key=f"cost-{label}")
    return chosen if chosen in options else options[0]


def _told(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def scatter(here: Page, found: Tradeoff, x: str) -> None:
    """Agreement over latency or size."""
    st.plotly_chart(tradeoff_scatter(found, colours(_models(here)), x), width="stretch", key="tradeoff-chart")
    area = "file's size" if x == "latency" else "latency"
    st.caption(
        f"A bubble's area is the {area}. The line joins what no other beats on both axes; faded models are dominated."
    )


def table(found: Tradeoff, rows: tuple[ModelProfile, ...]) -> None:
    """A row a model."""
    frame = pd.DataFrame(
        [
            {
                "model": point.name,
                "scheme": row.scheme,
                "size, MB": row.bytes / 1e6,
                "p50, ms": row.p50_ms,
                "p95, ms": row.p95_ms,
                "CPU, ms": row.cpu_ms,
                "peak, MB": row.peak_mb,
                "agreement": point.quality,
                "dominated by": ", ".join(found.dominated_by(point.name)),
            }
            for point, row in zip(found.points, rows, strict=True)
        ]
    )
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config=glossary.numbers(NUMBER),
        key="tradeoff-table",
    )
    st.caption(
        f"{rows[0].runs} runs of each in turns, {_told(rows[0].threads)}, this machine. Peak: what a fresh process"
        " grows by when it loads and runs the model, the file included."
    )


def operators(here: Page, rows: tuple[ModelProfile, ...]) -> None:
    """Where one model's time goes."""
    found = _models(here)
    names = {found.names[row.digest]: row for row in rows}
    name = st.selectbox("Model", list(names), key="cost-model")
    row = names.get(name or "", rows[0])
    figure = operator_times(row, colours(found)[found.names[row.digest]])
    st.plotly_chart(figure, width="stretch", key="operator-times")
    total = sum(operator.ms for operator in row.operators)
    st.caption(
        f"One operator at a time, {len(row.operators)} steps: {milliseconds(total)} together, handing tensors over"
        f" included. The whole model takes {milliseconds(row.p50_ms)} (p50)."
    )
    with st.expander("Every operator"):
        frame = pd.DataFrame(
            [{"order": o.order, "operator": o.op_kind, "ms": o.ms, "tensor": o.tensor} for o in row.operators]
        )
        formats = glossary.numbers({"ms": "%.3g"})
        st.dataframe(frame, hide_index=True, width="stretch", key="operator-table", column_config=formats)


def _models(here: Page) -> Models:
    assert here.models is not None, "pages without a model stop before"
    return here.models
