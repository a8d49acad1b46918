"""Build a variant of the reference in the browser; it joins the session's models at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from qviz import formatting
from qviz.cache import LRUCache
from qviz.context import Context
from qviz.errors import QuantizeError, QvizError
from qviz.features.building import Built, Calibration, check, quantize, source_of
from qviz.features.building import panel_choice as form
from qviz.features.building.panel_choice import Choice
from qviz.features.detection.models import LoadedModel, ModelSource
from qviz.job import Job
from qviz.limits import limits
from qviz.structures import digest_of
from qviz.ui import clicks, jobs, page, view, workspace
from qviz.ui.page import Page
from qviz.ui.workspace import Workspace

STATE = "qviz_new_variant"


@dataclass(slots=True, eq=False)
class NewVariant:
    """A variant that this session asked for last.

    Attributes:
        job: Makes it.
        reference: Digest of the model it is made from.
        name: Of the file.
        begin: Starts the job again after it has failed or was cancelled.
        digest: Of the file, once it has joined the session's models.
    """

    job: Job[Any]
    reference: str
    name: str
    begin: Callable[[], Job[Any]]
    digest: str = ""

    def begin_again(self) -> None:
        self.job = self.begin()


@st.cache_resource(show_spinner=False)
def _measured_ranges() -> LRUCache[Calibration]:
    """Ranges by source, images and method: one calibration serves every recipe."""
    return LRUCache(16)


def refusal(reference: LoadedModel, choice: Choice) -> str:
    """Why this cannot be built, or nothing. Nothing is run for it."""
    try:
        check(choice.recipe, source_of(reference).graph, choice.options)
    except QuantizeError as error:
        return str(error)
    if choice.needs_images and not choice.images:
        return "Choose calibration images first: 50 to 500 that look like those in use."
    return ""


def start(reference: LoadedModel, choice: Choice) -> NewVariant:
    """Begin to build, or join a session that builds the same. Raises QuantizeError."""
    source = source_of(reference)
    images = choice.images if choice.needs_images else ()
    ranges_key = (source.float_digest, source.settings, tuple(image.digest for image in images), choice.ranges)
    cache = _measured_ranges()

    def build(context: Context) -> Built:
        built = quantize(
            context,
            source,
            choice.recipe.name,
            calibration=images,
            measured=cache.find(ranges_key),
            ranges=choice.ranges,
            options=choice.options,
        )
        if built.ranges is not None:
            cache.put(ranges_key, built.ranges)
        return built

    key = (ranges_key, choice.recipe.name, choice.options)
    begin = partial(jobs.restart, "build", key, build, "Starting", "images")
    return NewVariant(begin(), reference.digest, choice.name(reference.name), begin)


def show(here: Page) -> None:
    """The form, the progress and the result."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    page.verdict(
        "Build a variant of the reference and compare it at once.",
        f"From {reference.name}, by TensorFlow's converter or litert-quantizer.",
    )
    try:
        _draw_form(here, reference)
        new: NewVariant | None = st.session_state.get(STATE)
        if new is not None and new.reference == reference.digest:
            follow(here, new)
    except QvizError as error:
        st.text(str(error))


def _draw_form(here: Page, reference: LoadedModel) -> None:
    try:
        choice = form.form(here)
    except QvizError as error:
        st.text(str(error))
        return
    problem = refusal(reference, choice) or full(here.workspace)
    if problem:
        st.text(problem)

    def begin() -> None:
        st.session_state[STATE] = start(reference, choice)

    clicks.button(st, "Build and compare", begin, "build-start", disabled=bool(problem), type="primary")


def follow(here: Page, new: NewVariant) -> None:
    """The progress of a variant; once it is built it joins the session's models."""
    if not jobs.wait(new.job, "build", new.begin_again):
        return
    built: Built = new.job.future.result()
    if not new.digest:
        new.digest = join(built.data, new.name)
        st.rerun()
    model = joined_model(here, new)
    if model is not None:
        _show_built(here, model, built)


def full(current: Workspace) -> str:
    """Why no further model can join the session, or nothing."""
    max_models = limits().session_models
    if len(current.models) < max_models:
        return ""
    return f"{formatting.plural(max_models, 'model')} are loaded, which is the limit; remove one on the Overview first."


def join(data: bytes, name: str) -> str:
    """Add a file to the session's models and return its digest. A file that is there already keeps its name."""
    digest = digest_of(data)
    current = workspace.current()
    if digest not in {source.digest for source in current.models}:
        workspace.keep(current.with_models([ModelSource(_free_name(name, current), data, digest=digest)]))
    return digest


def _free_name(name: str, current: Workspace) -> str:
    """The name, with a number behind it where another file has it."""
    taken, stem, number = {source.name for source in current.models}, name.removesuffix(".tflite"), 2
    while name in taken:
        name, number = f"{stem} {number}.tflite", number + 1
    return name


def joined_model(here: Page, new: NewVariant) -> LoadedModel | None:
    """The variant among the session's models; None where it was removed again."""
    return next((model for model in here.models.all if model.digest == new.digest), None) if here.models else None


def _show_built(here: Page, model: LoadedModel, built: Built) -> None:
    assert here.models is not None, "the model is one of them"
    share = model.bytes / here.models.reference.bytes
    ranges = built.ranges
    images = f" Ranges from {formatting.plural(ranges.images, 'image')}." if ranges is not None else ""
    sentences = [
        f"{model.name} is loaded: {built.scheme}, {formatting.megabytes(model.bytes)} ({share:.0%} of the reference),"
        f" built by {built.builder} in {built.seconds:.1f} s.{images}",
        built.remark,
        *(ranges.skipped if ranges is not None else ()),
    ]
    for sentence in filter(None, sentences):
        note(sentence)
    links(here, model, built.data, "app.py", "See it on the Overview →", "build-download")
    if built.stayed_float:
        with st.expander(f"{formatting.plural(len(built.stayed_float), 'tensor')} stayed in float"):
            st.dataframe(built.to_frame(), hide_index=True, width="stretch")


def note(sentence: str) -> None:
    """A small sentence."""
    st.html(f'<p class="qviz qviz-note">{escape(sentence)}</p>')


def links(here: Page, model: LoadedModel, data: bytes, target: str, label: str, key: str) -> None:
    """From a variant that has joined to the pages that show it, and a download of its file."""
    assert here.models is not None, "the model is one of them"
    first, second, third = st.columns([2, 2, 2], vertical_alignment="center")
    is_reference = model is here.models.reference
    query = {} if is_reference else view.to_query(replace(here.view, variants=(here.models.name(model),)))
    first.page_link("pages/compare.py", label="Compare it, image by image →", query_params=query)
    second.page_link(target, label=label)
    third.download_button("Download the file", data, model.name, "application/octet-stream", on_click="ignore", key=key)
