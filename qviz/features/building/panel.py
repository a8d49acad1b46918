"""Build a variant of the reference in the browser; it joins the session's models at once.

A variant being built: ranges measured once for all recipes, then the builder; both outside the script.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from html import escape
from typing import Any, TypeVar

import pandas as pd
import streamlit as st

from qviz import formatting
from qviz.api.building import needs_ranges, source_of
from qviz.cache import LRUCache
from qviz.errors import QuantizeError, QvizError
from qviz.features.building import Built, Calibration, Source, builders, calibrate, check, start_building
from qviz.features.building import panel_choice as build_choice
from qviz.features.building.names import named_apart
from qviz.features.building.panel_choice import Choice
from qviz.features.detection.models import LoadedModel, ModelSource
from qviz.limits import limits
from qviz.structures import digest_of
from qviz.ui import clicks, page, server, view, workspace
from qviz.ui.page import Page
from qviz.ui.workspace import Workspace

T = TypeVar("T")

BEAT = 0.5
Ranges = tuple[Calibration, tuple[str, ...]]
"""And why images were skipped."""


@dataclass(slots=True, eq=False)
class Calibrating:
    """Ranges being measured."""

    total: int
    done: int = 0
    future: Future[Ranges] = field(default_factory=Future)

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@dataclass(frozen=True, slots=True, eq=False)
class BuildJob:
    """A variant under way. calibrating: None where the recipe needs no ranges."""

    key: Hashable
    name: str
    calibrating: Calibrating | None
    future: Future[Built]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Why calibration images were left out, once it is done."""
        return self.calibrating.future.result()[1] if self.calibrating else ()


@st.cache_resource(show_spinner=False)
def _calibrations() -> LRUCache[Calibrating]:
    return LRUCache(16)


@st.cache_resource(show_spinner=False)
def _builds() -> LRUCache[Future[Built]]:
    return LRUCache(8)


def build_job_refusal(reference: LoadedModel, choice: Choice) -> str:
    """Why this cannot be built, or nothing. Told before anything runs."""
    try:
        source = source_of(reference)
        check(choice.recipe, named_apart(source.graph), choice.options)
    except QuantizeError as error:
        return str(error)
    if choice.needs_images and not choice.images:
        return "Choose calibration images first: 50 to 500 that look like those in use."
    return ""


def start(reference: LoadedModel, choice: Choice) -> BuildJob:
    """Begin, or join who began the same. What failed before is tried again. Raises QuantizeError."""
    source = source_of(reference)
    digests = tuple(image.digest for image in choice.images) if choice.needs_images else ()
    seen = (source.float_digest, source.settings, digests, choice.method)
    key = (seen, choice.recipe.name, choice.options)
    calibrating = None
    if needs_ranges(source, choice.recipe.name, choice.options, choice.method, len(choice.images)):
        # Before the building job, which waits for them in the same threads.
        calibrating = _again(_calibrations(), seen, partial(_calibrating, source, choice), lambda job: job.future)
    begin = partial(server.threads().submit, _build, source, choice, calibrating)
    return BuildJob(key, choice.name(reference.name), calibrating, _again(_builds(), key, begin, lambda future: future))


def _again(kept: LRUCache[T], key: Hashable, make: Callable[[], T], future_of: Callable[[T], Future[Any]]) -> T:
    """What is kept, made anew where it has failed."""
    future = future_of(kept.get(key, make))
    if future.done() and future.exception() is not None:
        kept.forget(key)
    return kept.get(key, make)


def _calibrating(source: Source, choice: Choice) -> Calibrating:
    job = Calibrating(len(choice.images))
    engine = server.engine()
    model = engine.share(source.float_data, source.float_digest)
    job.future = server.threads().submit(
        calibrate, engine, model, source.settings, choice.images, choice.method, job.report, job.total
    )
    return job


def _build(source: Source, choice: Choice, calibrating: Calibrating | None) -> Built:
    with builders() as workers:  # they start while the ranges are measured
        ranges = calibrating.future.result()[0] if calibrating is not None else None
        images = choice.images if choice.needs_images else ()
        return start_building(workers, source, choice.recipe.name, choice.options, ranges, images).result()


@st.fragment(run_every=BEAT)
def wait_for(job: BuildJob) -> None:
    """How far it is; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    calibrating = job.calibrating
    if calibrating is not None and not calibrating.future.done():
        share = min(calibrating.done / max(calibrating.total, 1), 1.0)
        st.progress(0.8 * share, text=f"Measuring ranges: {calibrating.done} of {calibrating.total} images")
    else:
        st.progress(0.8 if calibrating else 0.3, text="Building, and trying the file out; this takes about 10 s …")


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
        f"From {reference.name}, by TensorFlow's converter or litert-quantizer.",
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
        wait_for(asked.job)
        return
    built = asked.job.future.result()
    if not asked.digest:
        asked.digest = join(built.data, asked.job.name)
        st.rerun()
    shown(here, asked, built)


def _form(here: Page, reference: LoadedModel) -> None:
    choice = build_choice.form(here)
    refusal = build_job_refusal(reference, choice) or full(here.workspace)
    if refusal:
        st.text(refusal)

    def begin() -> None:
        st.session_state[ASKED] = Asked(start(reference, choice), reference.digest)

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
        f"{made.name} is loaded: {built.scheme}, {formatting.megabytes(made.bytes)} ({share:.0%} of the reference),"
        " built"
        f" by {built.builder} in {built.seconds:.1f} s.{images}"
    )
