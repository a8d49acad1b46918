"""*Trace this object*: where its confidence is lost, on the Compare page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from qviz.context import Context
from qviz.features.comparison import ComparedObject
from qviz.features.detection.models import LoadedModel
from qviz.features.tracing import Trace, trace
from qviz.features.tracing.plot import trace_chart
from qviz.features.tracing.text import against_whole
from qviz.features.what_if import panel as naming
from qviz.structures import EncodedImage
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import clicks, jobs, page, view
from qviz.ui.jobs import Work
from qviz.ui.page import Page

KIND = "trace"


def fell_most(objects: Sequence[ComparedObject]) -> ComparedObject | None:
    """The reference's object that lost most confidence; an object without a partner has lost all its confidence."""
    rows = [row for row in objects if row.reference_index is not None and row.reference_score is not None]
    return max(rows, key=lambda row: (row.reference_score or 0) - (row.variant_score or 0), default=None)


def show(
    here: Page, variant: LoadedModel, image: EncodedImage, objects: Sequence[ComparedObject], chosen: int | None
) -> None:
    """Draw the button and, once it was pressed, the trace. chosen: number of the selected object in the reference."""
    models = here.loaded
    worst = fell_most(objects)
    number = chosen if chosen is not None else worst.reference_index if worst is not None else None
    row = next((row for row in objects if row.reference_index == number), None)
    if number is None or row is None or not (variant.layers_available and models.reference.layers_available):
        return
    name = models.name(models.reference)
    st.subheader(f"Confidence of this object as {name} runs further into the network")
    left, right = st.columns([1, 4], vertical_alignment="center")
    which = "selected" if chosen is not None else "the one that fell most; select another above"
    with left:
        clicks.button(st, "Trace this object", partial(view.change, trace=True), "qviz-trace", width="stretch")
    right.text(f"{row.label}, {row.reference_score or 0:.2f} in {name} ({which})")
    if view.current().trace:
        _run(here, variant, image, number)


def _key(here: Page, variant: LoadedModel, image: EncodedImage, number: int) -> tuple[object, ...]:
    models = tuple(model.identity for model in (here.loaded.reference, variant))
    return models, image.digest, image.name, number


def _run(here: Page, variant: LoadedModel, image: EncodedImage, number: int) -> None:
    """Run a quick trace, then a full one.

    The number of an object does not depend on the threshold, because objects are numbered by falling score.
    """
    reference = here.loaded.reference

    def run(context: Context) -> Trace:
        traced = partial(trace, context, reference, variant, image, object_number=number, score=CANDIDATE_FLOOR)
        context.progress.partial(traced(quick=True))
        context.check_cancelled()
        return traced()

    key = _key(here, variant, image, number)
    step = f"Running {here.loaded.name(reference)} up to one operator after another, the variant from there"
    job = jobs.start(KIND, key, run, step=step, work=Work(jobs.subject_of(variant.digest), detail=image.name))
    if jobs.wait(job, "trace", partial(jobs.forget, KIND, key), partial(_show, here, variant, complete=False)):
        _show(here, variant, job.future.result())


def _show(here: Page, variant: LoadedModel, result: Trace, complete: bool = True) -> None:
    whole = against_whole(result, naming.finished(here, variant))
    page.verdict(f"{result.sentence} {whole}".strip(), "" if complete else "A quick look; every operator follows.")
    reference, name = (here.loaded.name(model) for model in (here.loaded.reference, variant))
    figure = trace_chart(result, reference, name, here.loaded.colours[variant.digest])
    st.plotly_chart(figure, width="stretch", key=f"trace-{'full' if complete else 'quick'}")
    if result.culprits or result.box_culprits:
        st.dataframe(_table(result), hide_index=True, width="stretch", placeholder="–", column_config=FORMATS)


FORMATS = {
    "gain": st.column_config.NumberColumn(format="%+.2f", width="small"),
    "fall dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "local dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "cumulative dB": st.column_config.NumberColumn(format="%.1f", width="small"),
    "alone": st.column_config.NumberColumn(format="%+.2f", width="small"),
    "together": st.column_config.NumberColumn(format="%+.2f", width="small"),
    "why": st.column_config.TextColumn(width="large"),
}


def _table(result: Trace) -> pd.DataFrame:
    """One row per culprit; SQNR in dB, higher is better."""
    return pd.DataFrame(
        [
            {
                "operator": row.order,
                "in the reference": row.reference_order,
                "kind": row.op_kind,
                "gain": row.gain,
                "cause": row.cause.words,
                "alone": row.alone,
                "together": row.together,
                "local dB": row.local_sqnr_db,
                "cumulative dB": row.cumulative_sqnr_db,
                "fall dB": row.fall_db,
                "why": row.sentence,
            }
            for row in (*result.culprits, *result.box_culprits)
        ]
    )
