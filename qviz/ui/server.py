"""The dashboard's calls to the analyses: one engine, models loaded once, long jobs outside the script.

SavedModels and Keras files that were dropped: converted in the background while the rest of the page goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import streamlit as st

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.detector import Inspection
from qviz.engine import LocalEngine, give_back_large_blocks, importing
from qviz.errors import QvizError
from qviz.features.comparison import ComparedImage, ComparedVariant, compare_image
from qviz.features.comparison.matching import prepare_matching
from qviz.features.detection.models import (
    LoadedModel,
    ModelSource,
    choose_reference,
    finish_loading,
    follow,
    ready,
    short_names,
    start_loading,
)
from qviz.features.inspection.lint import Warning, lint_all
from qviz.features.settings import a_few, guess_settings, unknown_settings
from qviz.store import FILE, Store, cache_folder
from qviz.structures import EncodedImage, Inference
from qviz.ui import workspace
from qviz.ui.clicks import outcome
from qviz.ui.results import Results
from qviz.ui.workspace import Workspace

T = TypeVar("T")

GUESS_PATIENCE = 30.0
"""Seconds that a page waits for guessed settings; then it goes on with the usual ones."""


@st.cache_resource(show_spinner=False)
def engine() -> LocalEngine:
    """The server's worker processes."""
    give_back_large_blocks()
    threading.Thread(target=prepare_matching, daemon=True).start()  # the workers take longer to start
    return LocalEngine(warm_up=importing("qviz.detector"))


@st.cache_resource(show_spinner=False)
def results() -> Results:
    """Detections of all sessions."""
    return Results(engine())


@st.cache_resource(show_spinner=False)
def kept_detections() -> Store | None:
    """This server's, or None for an account without a home folder."""
    try:
        return Store(cache_folder() / FILE)
    except (RuntimeError, OSError):
        return None


def context() -> Context:
    """Engine and store of this server, for one computation."""
    return Context(engine(), kept_detections())


def remarks() -> list[str]:
    """What the store has to say, where it cannot be used."""
    kept = kept_detections()
    return list(kept.remarks) if kept is not None else []


@st.cache_resource(show_spinner=False)
def _inspections() -> LRUCache[Future[Inspection]]:
    return LRUCache(64)


@st.cache_resource(show_spinner=False)
def _compared() -> LRUCache[ComparedImage]:
    return LRUCache(20_000)


def load_sources(sources: Sequence[ModelSource]) -> tuple[list[LoadedModel], list[str]]:
    """The models that load, and a sentence for each that does not."""
    jobs = [_inspections().get((s.digest, s.said, s.sidecar), partial(start_loading, engine(), s)) for s in sources]
    found, failed = [], []
    for source, job in zip(sources, jobs, strict=True):
        try:
            found.append(finish_loading(engine(), source, job))
        except QvizError as error:
            failed.append(str(error))
    return found, failed


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The loaded models of a session: `names` are short ones by digest; failed holds a sentence a model."""

    reference: LoadedModel
    variants: tuple[LoadedModel, ...]
    names: Mapping[str, str]
    failed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[LoadedModel, ...]:
        return (self.reference, *self.variants)

    def name(self, model: LoadedModel) -> str:
        return self.names[model.digest]

    def variant_named(self, name: str | None) -> LoadedModel | None:
        """The variant of that short name."""
        return next((variant for variant in self.variants if self.name(variant) == name), None)


def models(workspace: Workspace) -> Models | None:
    """The workspace's models with the reference chosen, or None where there is none that loads."""
    found, failed = load_sources([source for source in workspace.models if source.is_ready])
    if not found:
        return None
    chosen = next((model for model in found if model.digest == workspace.reference), None)
    reference = _guessed(chosen or choose_reference(found), workspace.images)
    variants = [follow(model, reference) for model in found if model.digest != reference.digest]
    return Models(reference, tuple(variants), short_names([reference, *variants]), tuple(failed))


@st.cache_resource(show_spinner=False)
def _guesses() -> LRUCache[Future[Inspection]]:
    return LRUCache(64)


def _guessed(model: LoadedModel, images: Sequence[EncodedImage]) -> LoadedModel:
    """The model with settings that nobody knows guessed, once for the server, on the first images that came."""
    if not images or not unknown_settings(model):
        return model
    start = partial(threads().submit, lambda: guess_settings(engine(), model, a_few(images)).inspection)
    job = _guesses().get((model.digest, model.settings), start)
    try:
        with st.spinner(f"Finding out how {model.name} wants its images prepared …"):
            return replace(model, inspection=outcome(job, GUESS_PATIENCE))  # kept without its bytes and name
    except TimeoutError:
        return model


def warnings(found: Models) -> list[Warning]:
    """All that lint has to say of them."""
    return lint_all(found.all)


def compared(
    found: Models, variant: LoadedModel, images: Sequence[EncodedImage], score: float, iou: float = 0.5
) -> ComparedVariant:
    """One variant against the reference over those images that both have run."""
    rows = (_compared_image(found, variant, image, score, iou) for image in images)
    done = tuple(row for row in rows if row is not None)
    return ComparedVariant(found.name(variant), str(variant.scheme), variant.digest, done)


def _compared_image(
    found: Models, variant: LoadedModel, image: EncodedImage, score: float, iou: float
) -> ComparedImage | None:
    """One image, or None where one of the two has not run it."""
    runs = [results().found(model, image) for model in (found.reference, variant)]
    first, second = runs
    if not isinstance(first, Inference) or not isinstance(second, Inference):
        return None
    labels = found.reference.inspection.labels, variant.inspection.labels
    models = tuple((model.digest, model.settings) for model in (found.reference, variant))
    return _compared().get(
        (models, image.digest, image.name, score, iou),
        lambda: compare_image(image.name, image.digest, first, second, labels, score, iou),
    )


def failures(found: Models, images: Sequence[EncodedImage]) -> list[str]:
    """A sentence for each image or model that could not be run, each once."""
    said: dict[str, None] = {}
    for image in images:
        answers = {model.name: results().found(model, image) for model in found.all}
        errors = {name: answer for name, answer in answers.items() if isinstance(answer, QvizError)}
        texts = {str(error) for error in errors.values()}
        if len(texts) == 1 and len(errors) == len(answers):
            said |= dict.fromkeys(texts)  # the image itself is at fault
        else:
            said |= {f"{name} on {image.name}: {error}": None for name, error in errors.items()}
    return list(said)


@st.cache_resource(show_spinner=False)
def threads() -> ThreadPoolExecutor:
    """For jobs that wait for workers: evaluations, conversions."""
    return ThreadPoolExecutor(2, thread_name_prefix="qviz-evaluation")


BEAT = 1.0


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[Future[list[ModelSource]]]:
    return LRUCache(16)


def _job(source: ModelSource) -> Future[list[ModelSource]]:
    key = (source.digest, source.said, source.sidecar, source.name)
    return _jobs().get(key, partial(threads().submit, ready, [source]))


def settled(held: Workspace) -> Workspace:
    """The workspace with every finished conversion in its place; one that failed leaves its sentence."""
    for source in held.models:
        if not source.is_ready and _job(source).done():
            rest = tuple(other for other in held.models if other is not source)
            try:
                (made,) = _job(source).result()
                held = replace(held, models=rest).with_models([made])
            except QvizError as error:
                held = replace(held, models=rest).with_notices([str(error)])
    return workspace.keep(held)


def show_pending(held: Workspace) -> None:
    """Name what is being converted, and draw the page anew when one is done."""
    waiting = [source for source in held.models if not source.is_ready]
    if not waiting:
        return

    @st.fragment(run_every=BEAT)
    def look() -> None:
        if any(_job(source).done() for source in waiting):
            st.rerun()
        for source in waiting:
            st.text(f"Converting {source.name} ({source.kind}) to a float32 .tflite; TensorFlow takes about 20 s …")

    look()
