"""The Backends page: a form, the finding, agreement per backend as chart and table, and what each backend refuses."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from qviz.context import Context
from qviz.features.backends import BackendComparison, backends
from qviz.features.backends.kinds import KINDS, missing
from qviz.features.backends.text import losses_sentence, refusal_sentence, verdict, worst_losses
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.panel import with_short_names
from qviz.formatting import as_text, milliseconds, plural
from qviz.job import Job
from qviz.structures import EncodedImage
from qviz.structures.dataset import spread
from qviz.ui import clicks, jobs, page
from qviz.ui.jobs import Work
from qviz.ui.page import Page

KIND = "backends"
REQUEST = "qviz_backends_request"
MAX_IMAGES = 12
"""Maximum number of images of one run on the page, spread evenly; slow kernels take a second for each."""
QUICK = ("xnnpack", "builtin")
"""Backends chosen at first; the others take seconds per image on a machine without a graphics card."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was requested: backends, models, images and confidence."""

    names: tuple[str, ...]
    models: tuple[Hashable, ...]
    images: tuple[tuple[str, str], ...]
    score: float


def show(here: Page) -> None:
    """Draw the whole page below its title."""
    headline = st.container()
    images = spread(here.workspace.images, MAX_IMAGES)
    request = _form(here, images)
    with headline:
        if request is None:
            page.verdict(
                "The same file can answer differently on other kernels: an object at the threshold appears or"
                " disappears.",
                "Choose backends and run them to see what becomes of each object, and whether the file or the kernels"
                " cause the losses.",
            )
            return
    job = _started(here, request, images)
    if not jobs.wait(job, "backends", lambda: jobs.forget(KIND, request)):
        return
    result = job.future.result()
    with headline:
        page.verdict(with_short_names(here, verdict(result)), _other_losses(here, result))
    st.plotly_chart(
        result.plot(names={model.name: here.loaded.name(model) for model in here.loaded.all}),
        width="stretch",
        key="backends-chart",
        config={"displayModeBar": False},
    )
    _table(here, result)
    page.small_text(result.time_caveat)
    _notes(here, result)


def _form(here: Page, images: list[EncodedImage]) -> Request | None:
    """Draw the form. Returns this session's request, if it fits the loaded files; else None."""
    left, right = st.columns([8, 1], vertical_alignment="top")
    present = [name for name in KINDS if not missing(name)]
    names = left.pills(
        f"Backends, on {plural(len(images), 'image')}",
        present,
        selection_mode="multi",
        default=list(QUICK),
        format_func=lambda name: KINDS[name].title,
        key="backends-names",
        persist_state="session",
    )
    for name in KINDS:
        if reason := missing(name):
            left.caption(as_text(reason))
    models = tuple(model.identity for model in _models(here))
    shown = tuple((image.digest, image.name) for image in images)
    current = Request(tuple(names or ()), models, shown, here.view.score)

    def begin() -> None:
        jobs.forget(KIND, current)
        st.session_state[REQUEST] = current

    clicks.button(right, "Run", begin, "backends-run", st.rerun, disabled=not names or not models, type="primary")
    request: Request | None = st.session_state.get(REQUEST)
    if request is None or (request.models, request.images, request.score) != (models, shown, here.view.score):
        return None
    return request


def _models(here: Page) -> list[LoadedModel]:
    """The models that can run here: all except recorded results and models that TensorFlow runs."""
    return [model for model in here.loaded.all if model.layers_available]


def _started(here: Page, request: Request, images: list[EncodedImage]) -> Job[BackendComparison]:
    models = _models(here)

    def run(context: Context) -> BackendComparison:
        return backends(context, models, images, on=request.names, score=request.score)

    work = Work(jobs.subject_of(*request.models, request.names), len(images) * len(models) * len(request.names))
    return jobs.start(KIND, request, run, step="Running the backends", unit="images", work=work)


def _other_losses(here: Page, result: BackendComparison) -> str:
    """The lost objects of the variants that the finding does not name."""
    return with_short_names(here, " ".join(map(losses_sentence, worst_losses(result)[1:])))


def _table(here: Page, result: BackendComparison) -> None:
    rows = [
        {
            "model": with_short_names(here, model.name),
            "backend": row.backend,
            "agreement": row.agreement,
            "lost": row.lost,
            "spurious": row.spurious,
            "relabelled": row.relabelled,
            "shifted": row.shifted,
            "largest Δ confidence": row.max_score_delta,
            "time": None if row.ms is None else milliseconds(row.ms),
            "computed in": row.precision,
        }
        for model in result.models
        for row in model.results
    ]
    frame = pd.DataFrame(rows)
    columns = {
        "agreement": st.column_config.NumberColumn(format="%.3f", help="with the first backend; higher is better"),
        "largest Δ confidence": st.column_config.NumberColumn(format="%.3f"),
    }
    st.dataframe(frame, hide_index=True, width="stretch", column_config=columns, key="backends-table")


def _notes(here: Page, result: BackendComparison) -> None:
    """Draw which backends are not available, and which models and operators a backend does not run."""
    for backend in result.backends:
        if not backend.available:
            st.text(f"{KINDS[backend.name].title} is not available: {backend.reason}")
        elif backend.reason:
            st.caption(as_text(f"{KINDS[backend.name].title} ran on {backend.reason}."))
    sentences = [
        with_short_names(here, refusal_sentence(model.name, row)) for model in result.models for row in model.refused
    ]
    if sentences:
        with st.expander(f"{plural(len(sentences), 'operator')} that a backend refuses"):
            st.text("\n".join(sentences))
    for sentence in result.skipped:
        st.text(sentence)
