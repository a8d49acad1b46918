"""Build a variant of the reference in the browser; it joins the session's models at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import pandas as pd
import streamlit as st

from qviz.analysis import written
from qviz.analysis.models import LoadedModel, ModelSource
from qviz.errors import QvizError
from qviz.limits import limits
from qviz.quantize import Built
from qviz.structures import digest_of
from qviz.ui import build_choice, build_job, clicks, page, view, workspace
from qviz.ui.build_job import BuildJob
from qviz.ui.page import Page
from qviz.ui.workspace import Workspace

ASKED = "qviz_build_asked"


@dataclass(slots=True, eq=False)
class Asked:
    """What this session had built last. digest: of the file, once it has joined the session's models."""

    job: BuildJob
    reference: str
    digest: str = ""


def show(here: Page) -> None:
    """The form, the progress and what came of it."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    page.verdict(
        "Build a variant of the reference, and compare it at once.",
        f"From {reference.name}, by TensorFlow's converter or ai-edge-quantizer.",
    )
    try:
        _form(here, reference)
    except QvizError as error:
        st.text(str(error))
    asked: Asked | None = st.session_state.get(ASKED)
    if asked is None or asked.reference != reference.digest:
        return
    try:
        follow(here, asked)
    except QvizError as error:
        st.text(str(error))


def follow(here: Page, asked: Asked) -> None:
    """How far it is; once it is built it joins the session's models. Raises QvizError."""
    if not asked.job.future.done():
        build_job.wait_for(asked.job)
        return
    built = asked.job.future.result()
    if not asked.digest:
        asked.digest = join(built.data, asked.job.name)
        st.rerun()
    shown(here, asked, built)


def _form(here: Page, reference: LoadedModel) -> None:
    choice = build_choice.form(here)
    refusal = build_job.refusal(reference, choice) or full(here.workspace)
    if refusal:
        st.text(refusal)

    def begin() -> None:
        st.session_state[ASKED] = Asked(build_job.start(reference, choice), reference.digest)

    clicks.button(st, "Build and compare", begin, "build-start", disabled=bool(refusal), type="primary")


def full(held: Workspace) -> str:
    """Why no further model can join, or nothing."""
    if len(held.models) < (most := limits().session_models):
        return ""
    return f"{most} models are compared at once, and as many are loaded; remove one on the Overview first."


def join(data: bytes, name: str) -> str:
    """The new file among the session's models, once; its digest. A file that is there already keeps its name."""
    digest = digest_of(data)
    held = workspace.current()
    if digest not in {source.digest for source in held.models}:
        workspace.keep(held.with_models([ModelSource(free(name, held), data, digest=digest)]))
    return digest


def free(name: str, held: Workspace) -> str:
    """The name, numbered where another file has it."""
    taken, stem, number = {source.name for source in held.models}, name.removesuffix(".tflite"), 2
    while name in taken:
        name, number = f"{stem} {number}.tflite", number + 1
    return name


def shown(here: Page, asked: Asked, built: Built) -> None:
    """What was built, and where to look at it."""
    found = here.models
    made = next((model for model in found.all if model.digest == asked.digest), None) if found else None
    if found is None or made is None:
        return  # it was removed again
    for sentence in (_told(built, made, found.reference, asked.job), built.remark, *asked.job.skipped):
        if sentence:
            st.html(f'<p class="qviz qviz-note">{escape(sentence)}</p>')
    first, second, third = st.columns([2, 2, 2], vertical_alignment="center")
    said = {} if made is found.reference else view.to_query(replace(here.view, variants=(found.name(made),)))
    first.page_link("pages/compare.py", label="Compare it, image by image →", query_params=said)
    second.page_link("app.py", label="See it on the Overview →")
    third.download_button(
        "Download the file", built.data, made.name, "application/octet-stream", on_click="ignore", key="build-download"
    )
    if built.stayed_float:
        with st.expander(f"{len(built.stayed_float)} tensors stayed float"):
            rows = pd.DataFrame(built.stayed_float, columns=["tensor", "reason"])
            st.dataframe(rows, hide_index=True, width="stretch")


def _told(built: Built, made: LoadedModel, reference: LoadedModel, job: BuildJob) -> str:
    share = made.bytes / reference.bytes
    images = f" Ranges from {job.calibrating.future.result()[0].images} images." if job.calibrating else ""
    return (
        f"{made.name} is loaded: {built.scheme}, {written.megabytes(made.bytes)} ({share:.0%} of the reference), built"
        f" by {built.builder} in {built.seconds:.1f} s.{images}"
    )
