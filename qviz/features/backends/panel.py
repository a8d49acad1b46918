"""The Backends page: a form, the finding, agreement per backend as chart and table, and what each backend refuses.

Overview, Diagnosis and Layers show parts of the page's last result, if it has the same models, images and confidence.
They never start a run.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pandas as pd
import streamlit as st

from qviz.context import Context
from qviz.features.backends import BackendComparison, backends
from qviz.features.backends.kinds import KINDS, missing
from qviz.features.backends.text import (
    first_difference_sentence,
    losses_sentence,
    refusal_sentence,
    verdict,
    worst_losses,
)
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.panel import with_short_names
from qviz.formatting import as_text, milliseconds, plural
from qviz.structures import EncodedImage
from qviz.structures.dataset import spread
from qviz.ui import clicks, jobs, page, requested
from qviz.ui.jobs import Work
from qviz.ui.page import Page

KIND = "backends"
MAX_IMAGES = 12
"""Maximum number of images of one run on the page, spread evenly over all; slow kernels take a second per image."""
QUICK = ("xnnpack", "builtin")
"""Backends chosen by default; the others take seconds per image on a machine without a graphics card."""


def result_of(here: Page) -> BackendComparison | None:
    """The last result for the loaded models and images at the confidence in view; None if there is none."""
    job = jobs.find(KIND, _key(here))
    if job is None:
        return jobs.stored(KIND, _key(here))
    if not job.finished or job.cancelled or job.error is not None:
        return None
    return job.result if isinstance(job.result, BackendComparison) else None


def kernel_losses(here: Page, variants: Sequence[LoadedModel]) -> None:
    """Draw a sentence for each variant that loses objects only on some kernels, not on its first backend."""
    result = result_of(here)
    names = {variant.name for variant in variants}
    rows = [] if result is None else [row for row in worst_losses(result) if row.name in names and row.by_kernels]
    if result is None or not rows:
        return
    sentences = " ".join(map(losses_sentence, rows))
    page.small_text(with_short_names(here, f"{sentences} Measured on {plural(result.images, 'image')}."))
    page.link("pages/backends.py", "Open backends →")


def _key(here: Page) -> Hashable:
    """The key of a result: all that it depends on except the backends, which the result itself lists."""
    shown = tuple((image.digest, image.name) for image in spread(here.workspace.images, MAX_IMAGES))
    return tuple(model.identity for model in _models(here)), shown, here.view.score


def show(here: Page) -> None:
    """Draw the whole page below its title."""
    headline = st.container()
    _form(here)
    job = jobs.find(KIND, _key(here))
    if job is not None and not jobs.wait(job, "backends", lambda: jobs.forget(KIND, _key(here))):
        return
    result = result_of(here)
    with headline:
        if result is None:
            page.verdict(
                "The same file can answer differently on other kernels: an object at the threshold appears or"
                " disappears.",
                "Choose backends and run them to see what becomes of each object, and whether the file or the kernels"
                " cause the losses.",
            )
            return
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


def _form(here: Page) -> None:
    """Draw the choice of backends, and the button that runs them."""
    images = spread(here.workspace.images, MAX_IMAGES)
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
        wrap=True,
    )
    for name in KINDS:
        if reason := missing(name):
            left.caption(as_text(reason))

    stepwise = left.toggle(
        "Where do the kernels first differ?",
        key="backends-first-difference",
        persist_state="session",
        help="Runs each file operator by operator on XNNPACK and on LiteRT's other kernels, on two of the images.",
    )

    def begin() -> None:
        _start(here, tuple(names or ()), images, stepwise)

    disabled = not names or not _models(here)
    clicks.button(right, "Run", begin, "backends-run", st.rerun, disabled=disabled, type="primary")


def _models(here: Page) -> list[LoadedModel]:
    """The models that can run here: all except recorded results and models that TensorFlow runs."""
    return [model for model in here.loaded.all if model.layers_available]


def _start(here: Page, names: tuple[str, ...], images: list[EncodedImage], stepwise: bool) -> None:
    """Run these backends. An earlier run of the same models and images is stopped, and its result is dropped."""
    models, score = _models(here), here.view.score

    def run(context: Context) -> BackendComparison:
        return backends(context, models, images, on=names, score=score, first_difference=stepwise)

    if (earlier := jobs.find(KIND, _key(here))) is not None:
        earlier.stop()
    jobs.forget(KIND, _key(here))
    subject = jobs.subject_of(*(model.identity for model in models), names)
    work = Work(subject, len(images) * len(models) * len(names))
    requested.get_address()
    jobs.start(KIND, _key(here), run, step="Running the backends", unit="images", work=work)


def _other_losses(here: Page, result: BackendComparison) -> str:
    """Sentences on the lost objects of all variants but the one that the finding is about."""
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
    for model in result.models:
        for difference in model.first_differences:
            page.small_text(with_short_names(here, first_difference_sentence(model.name, difference)))
    refusals = [(model.name, row) for model in result.models for row in model.refused]
    for name, row in refusals:
        if row.op_type is None:  # a backend that does not run the whole model
            st.text(with_short_names(here, refusal_sentence(name, row)))
    sentences = [
        with_short_names(here, refusal_sentence(name, row)) for name, row in refusals if row.op_type is not None
    ]
    if sentences:
        with st.expander(f"{plural(len(sentences), 'operator')} that a backend refuses"):
            st.text("\n".join(sentences))
    for sentence in result.skipped:
        st.text(sentence)
