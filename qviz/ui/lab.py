"""The calibration lab in the browser: the form, the wait, what was found."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.analysis.calibration_verdict import lab_verdict, stability_sentence
from qviz.errors import QvizError
from qviz.plots.calibration_lab import calibration_curve
from qviz.plots.colours import variant_colour
from qviz.ui import clicks, lab_choice, lab_job, lab_results, page
from qviz.ui.lab_choice import Choice
from qviz.ui.lab_job import LabJob
from qviz.ui.page import Page

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
    job = lab_job.start(reference, choice.images, choice.data, choice.digest, choice.plan)
    if job.future.done() and job.future.exception() is not None:
        job = lab_job.again(job)
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
            st.session_state[ASKED] = Asked(lab_job.again(asked.job), asked.reference)

        clicks.button(st, "Go on" if asked.job.stopped else "Try again", again, "lab-again", st.rerun)
        return
    found = asked.job.future.result()
    with place:
        page.verdict(lab_verdict(found), lab_results.reminder(found))
    lab_results.show(found, asked.job.data, _colour(here))
