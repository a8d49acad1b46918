"""A variant being built: ranges measured once for all recipes, then the builder; both outside the script."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import streamlit as st

from qviz.analysis.models import LoadedModel
from qviz.api.building import needs_ranges, source_of
from qviz.errors import QuantizeError
from qviz.quantize import Built, Calibration, Source, builders, calibrate, check, start_building
from qviz.quantize.names import named_apart
from qviz.ui import calls
from qviz.ui.build_choice import Choice

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
def _calibrations() -> calls.Kept[Calibrating]:
    return calls.Kept(16)


@st.cache_resource(show_spinner=False)
def _builds() -> calls.Kept[Future[Built]]:
    return calls.Kept(8)


def refusal(reference: LoadedModel, choice: Choice) -> str:
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
    begin = partial(calls.threads().submit, _build, source, choice, calibrating)
    return BuildJob(key, choice.name(reference.name), calibrating, _again(_builds(), key, begin, lambda future: future))


def _again(kept: calls.Kept[T], key: Hashable, make: Callable[[], T], future_of: Callable[[T], Future[Any]]) -> T:
    """What is kept, made anew where it has failed."""
    future = future_of(kept.get(key, make))
    if future.done() and future.exception() is not None:
        kept.forget(key)
    return kept.get(key, make)


def _calibrating(source: Source, choice: Choice) -> Calibrating:
    job = Calibrating(len(choice.images))
    engine = calls.engine()
    model = engine.share(source.float_data, source.float_digest)
    job.future = calls.threads().submit(
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
