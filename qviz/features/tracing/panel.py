"""*Trace this object*: where its confidence is lost, on the Compare page."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.errors import QvizError
from qviz.features.comparison import ComparedObject
from qviz.features.detection.models import LoadedModel
from qviz.features.tracing import Trace, trace_object
from qviz.features.tracing.plot import trace_chart
from qviz.structures import EncodedImage
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import clicks, page, server
from qviz.ui.page import Page

BEAT = 0.4
ASKED = "qviz_traced"
"""What this session asked to trace: the key of its job."""


@dataclass(slots=True)
class TraceJob:
    """The quick trace of one object, and the full one that follows it."""

    quick: Future[Trace] = field(default_factory=Future)
    full: Future[Trace] = field(default_factory=Future)

    def result(self) -> Trace | None:
        """The best there is. Raises what made it fail."""
        done = next((future for future in (self.full, self.quick) if future.done()), None)
        return done.result() if done is not None else None


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[TraceJob]:
    return LRUCache(64)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    """Of their own: somebody looks at the page, and an evaluation takes minutes."""
    return ThreadPoolExecutor(4, thread_name_prefix="qviz-trace")


def fell_most(objects: Sequence[ComparedObject]) -> ComparedObject | None:
    """The object of the reference that lost most confidence; one without any partner lost all of it."""
    ours = [row for row in objects if row.reference_index is not None and row.reference_score is not None]
    return max(ours, key=lambda row: (row.reference_score or 0) - (row.variant_score or 0), default=None)


def show(
    here: Page, variant: LoadedModel, image: EncodedImage, objects: Sequence[ComparedObject], chosen: int | None
) -> None:
    """The button and, once it was pressed, the trace. chosen: the selected object's number in the reference, if any."""
    found = here.models
    worst = fell_most(objects)
    number = chosen if chosen is not None else worst.reference_index if worst is not None else None
    row = next((row for row in objects if row.reference_index == number), None)
    if found is None or number is None or row is None:
        return
    if not (variant.layers_available and found.reference.layers_available):
        return
    st.subheader("Where its confidence is lost")
    key = (_models(here, variant), image.digest, image.name, number)
    left, right = st.columns([1, 4], vertical_alignment="center")
    which = "selected" if chosen is not None else "the one that fell most; select another above"
    with left:
        begin = clicks.keep(ASKED, key)
        clicks.button(st, "Trace this object", begin, "qviz-trace", width="stretch")
    right.text(f"{row.label}, {row.reference_score or 0:.2f} in {found.name(found.reference)} ({which})")
    if st.session_state.get(ASKED) == key:
        _watch(here, variant, _job(here, variant, image, number))


def _models(here: Page, variant: LoadedModel) -> tuple[object, ...]:
    assert here.models is not None, "pages without a model stop before"
    return tuple(model.identity for model in (here.models.reference, variant))


def _job(here: Page, variant: LoadedModel, image: EncodedImage, number: int) -> TraceJob:
    """Started once for the server. An object's number is the same at every threshold that it reaches."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference

    def run(quick: bool) -> Trace:
        return trace_object(server.engine(), reference, variant, image, number, quick, CANDIDATE_FLOOR)

    def start() -> TraceJob:
        begun = TraceJob()
        begun.quick = _threads().submit(run, True)
        begun.full = _threads().submit(lambda: begun.quick.result() and run(False))
        return begun

    return _jobs().get((_models(here, variant), image.digest, image.name, number), start)


def _watch(here: Page, variant: LoadedModel, job: TraceJob) -> None:
    """Drawn again on its own until the full trace is there."""
    if job.full.done():
        _show(here, variant, job)
    else:
        _wait(here, variant, job)


@st.fragment(run_every=BEAT)
def _wait(here: Page, variant: LoadedModel, job: TraceJob) -> None:
    if job.full.done():
        st.rerun()
    _show(here, variant, job)


def _show(here: Page, variant: LoadedModel, job: TraceJob) -> None:
    assert here.models is not None, "pages without a model stop before"
    try:
        result = job.result()
    except QvizError as error:
        st.text(str(error))
        return
    if result is None:
        st.caption("Running FP32 up to one operator after another, the variant from there …")
        return
    note = "" if job.full.done() else "A quick look; every operator follows."
    page.verdict(result.sentence, note)
    reference, name = (here.models.name(model) for model in (here.models.reference, variant))
    position = next(i for i, other in enumerate(here.models.variants) if other.digest == variant.digest)
    figure = trace_chart(result, reference, name, variant_colour(position))
    st.plotly_chart(figure, width="stretch", key=f"trace-{'full' if job.full.done() else 'quick'}")
    if result.culprits:
        st.dataframe(_table(result), hide_index=True, width="stretch", placeholder="–", column_config=FORMATS)


FORMATS = {
    "gain": st.column_config.NumberColumn(format="%+.2f", width="small"),
    "fall dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "local dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "cumulative dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "why": st.column_config.TextColumn(width="large"),
}


def _table(result: Trace) -> pd.DataFrame:
    """A row a culprit; SQNR in dB, higher is better."""
    return pd.DataFrame(
        [
            {
                "operator": row.order,
                "kind": row.op_kind,
                "gain": row.gain,
                "cause": row.cause.replace("_", " "),
                "local dB": row.local_sqnr_db,
                "cumulative dB": row.cumulative_sqnr_db,
                "fall dB": row.fall_db,
                "why": row.sentence,
            }
            for row in result.culprits
        ]
    )
