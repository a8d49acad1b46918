"""Objects that all sessions of this server share: workers, the store, loaded models, comparisons of images.

Dropped SavedModels and Keras files are converted in the background.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from qviz.cache import LRUCache
from qviz.chart_style import colours
from qviz.context import Context
from qviz.detector import Inspection
from qviz.engine import LocalEngine, importing, trim_malloc
from qviz.errors import QvizError, WorkerCrashed, WorkerOutOfMemory
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
from qviz.features.detection.recorded import unusable
from qviz.features.inspection.lint import lint_files, lint_origin
from qviz.features.inspection.warning import Warning
from qviz.features.settings import MIN_IMAGES, check_boxes, guess_for
from qviz.formatting import as_text
from qviz.store import FILE, Store, user_folder
from qviz.structures import EncodedImage, Inference
from qviz.ui import clicks, workspace
from qviz.ui.results import Results
from qviz.ui.workspace import Workspace

T = TypeVar("T")

GUESS_TIMEOUT = 30.0
"""A page waits this many seconds for guessed settings, and then continues with the defaults."""
FIRST_IMAGES = 12
"""The detections on this many images come before those on the others, for a first verdict."""


@st.cache_resource(show_spinner=False)
def engine() -> LocalEngine:
    """The server's worker processes."""
    trim_malloc()
    threading.Thread(target=prepare_matching, daemon=True).start()  # runs while the workers start, which takes longer
    return LocalEngine(warm_up=importing("qviz.detector"))


@st.cache_resource(show_spinner=False)
def results() -> Results:
    """The cache of detections and previews for all sessions."""
    return Results(engine())


@st.cache_resource(show_spinner=False)
def detection_store() -> Store | None:
    """The store of detections, or None if the user account has no home folder."""
    try:
        return Store(user_folder("cache") / FILE)
    except (RuntimeError, OSError):
        return None


def context() -> Context:
    """A context for one computation, with the engine and store of this server."""
    return Context(engine(), detection_store())


def store_remarks() -> list[str]:
    """Sentences about problems with the store; empty if there are none."""
    store = detection_store()
    return list(store.remarks) if store is not None else []


@st.cache_resource(show_spinner=False)
def _inspections() -> LRUCache[Future[Inspection]]:
    return LRUCache(64)


@st.cache_resource(show_spinner=False)
def _compared() -> LRUCache[ComparedImage]:
    return LRUCache(20_000)


def load_sources(sources: Sequence[ModelSource]) -> tuple[list[LoadedModel], list[str]]:
    """(loaded models, one sentence per model that cannot be loaded)."""
    jobs = [_inspections().get((s.digest, s.settings, s.sidecar), partial(start_loading, engine(), s)) for s in sources]
    loaded, failures = [], []
    for source, job in zip(sources, jobs, strict=True):
        try:
            loaded.append(finish_loading(engine(), source, job))
        except QvizError as error:
            failures.append(str(error))
            if isinstance(error, (WorkerCrashed, WorkerOutOfMemory)):
                _crashes().put(source.digest, str(error))
    return loaded, failures


@st.cache_resource(show_spinner=False)
def _crashes() -> LRUCache[str]:
    """Digest -> reason for each model that crashed its worker while it was loaded."""
    return LRUCache(64)


def with_quarantine(current: Workspace) -> Workspace:
    """The workspace with every model that crashed a worker process in quarantine: it no longer runs automatically."""
    reasons = {
        source.digest: reason
        for source in current.runnable
        if (reason := _crashes().find(source.digest) or results().crash(source.digest, current.images))
    }
    return replace(current, quarantine={**current.quarantine, **reasons}) if reasons else current


def run_again(source: ModelSource) -> None:
    """Take a model out of quarantine in this session, so that it runs once more."""
    _crashes().forget(source.digest)
    _inspections().forget((source.digest, source.settings, source.sidecar))
    results().forget_crashes(source.digest)
    workspace.keep(workspace.current().without_quarantine(source.digest))


@dataclass(frozen=True, slots=True, eq=False)
class Models:
    """The loaded models of a session.

    Attributes:
        names: Digest -> short name.
        failed: One sentence per model that cannot be loaded.
    """

    reference: LoadedModel
    variants: tuple[LoadedModel, ...]
    names: Mapping[str, str]
    failed: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[LoadedModel, ...]:
        return (self.reference, *self.variants)

    @property
    def identities(self) -> tuple[Hashable, ...]:
        """The key for computations that depend on all models."""
        return tuple(model.identity for model in self.all)

    @property
    def colours(self) -> dict[str, str]:
        """Digest -> colour of the model in charts and of its boxes."""
        return dict(zip((model.digest for model in self.all), colours(len(self.all)), strict=True))

    def name(self, model: LoadedModel) -> str:
        return self.names[model.digest]

    def variant_named(self, name: str | None) -> LoadedModel | None:
        """The variant with this short name, or None."""
        return next((variant for variant in self.variants if self.name(variant) == name), None)


def models(workspace: Workspace) -> Models | None:
    """The workspace's models with one of them chosen as the reference, or None if no model can be loaded."""
    ordered, failures = _ordered(workspace)
    if not ordered:
        return None
    (reference, *variants), sentences = _guessed(ordered, workspace.images)
    failed = (*failures, *sentences)
    return Models(reference, tuple(variants), short_names([reference, *variants]), failed)


def start_models(workspace: Workspace) -> None:
    """Start to find out how the workspace's models expect their images; `models` waits for the result."""
    ordered, _ = _ordered(workspace)
    if ordered:
        _guess(ordered, workspace.images)


def _ordered(workspace: Workspace) -> tuple[list[LoadedModel], list[str]]:
    """(the workspace's models, the reference first, one sentence per model that cannot be loaded)."""
    loaded, failures = load_sources(workspace.runnable)
    if not loaded:
        return [], failures
    chosen = next((model for model in loaded if model.digest == workspace.reference), None)
    reference = chosen or choose_reference(loaded)
    return [reference, *(model for model in loaded if model.digest != reference.digest)], failures


Guess = tuple[dict[str, Inspection], list[str]]
"""(digest -> inspection with guessed settings, one sentence per variant that cannot be used with these images)."""


@st.cache_resource(show_spinner=False)
def _guesses() -> LRUCache[Future[Guess]]:
    return LRUCache(64)


def _guessed(models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> tuple[list[LoadedModel], list[str]]:
    """(the reference and its variants with unknown settings filled in, one sentence per variant that is left out).

    The settings are guessed from the other models and the first images, once per server. If that fails or takes too
    long, the variants take the reference's settings. Recorded results that match none of the images are left out.
    """
    reference, *variants = models
    job = _guess(models, images)
    try:
        with _spinner(f"Finding out how {reference.name} expects its images …"):
            inspections, sentences = clicks.wait_for_result(job, GUESS_TIMEOUT)  # without the models' bytes and names
    except (TimeoutError, QvizError) as error:
        if isinstance(error, QvizError) and has_page():
            st.warning(as_text(str(error)))
        return [reference, *(follow(variant, reference) for variant in variants)], []
    usable = [model for model in models if model.digest in inspections]
    return [replace(model, inspection=inspections[model.digest]) for model in usable], sentences


def _guess(models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> Future[Guess]:
    """The job that guesses the settings of these models, the reference first."""
    names = tuple(image.name for image in images) if any(model.is_recorded for model in models) else ()
    key = tuple((model.digest, model.settings) for model in models), min(len(images), MIN_IMAGES), names
    return _guesses().get(key, partial(threads().submit, _find_out, models, tuple(images)))


def has_page() -> bool:
    """Whether the calling thread draws a page."""
    return get_script_run_ctx(suppress_warning=True) is not None


def _spinner(text: str) -> contextlib.AbstractContextManager[None]:
    return st.spinner(text) if has_page() else contextlib.nullcontext()


def prepare(workspace: Workspace) -> None:
    """Load the models of the first visit, and start to run them on its first images. The page reports any errors."""
    with contextlib.suppress(QvizError):
        if (loaded := models(workspace)) is not None:
            results().want(loaded.all, workspace.images[:FIRST_IMAGES])


def _find_out(models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> Guess:
    left_out = unusable(engine(), models[1:], images)
    guesses = guess_for(context(), [m for m in models if m.digest not in left_out], images, check=False)
    return {model.digest: model.inspection for model in guesses}, list(left_out.values())


def warnings(models: Models, images: Sequence[EncodedImage], measure: bool = True) -> list[Warning]:
    """The lint warnings of all models. Until the models have been measured, only those that the files alone justify.

    measure: whether to compare weights and to check boxes now, which takes a worker about half a second per variant.
    """
    if measure:
        job = _measured(models, images)
        wait([job], MEASURED_SECONDS)
        if job.done():
            return job.result()
    return lint_files(models.all, context().threads)


def warnings_pending(models: Models, images: Sequence[EncodedImage]) -> bool:
    """Whether weights are still being compared or boxes are still being checked."""
    return not _measured(models, images).done()


def _measured(models: Models, images: Sequence[EncodedImage]) -> Future[list[Warning]]:
    key = tuple((model.name, model.digest, model.settings) for model in models.all), min(len(images), MIN_IMAGES)
    return _measured_warnings().get(key, partial(threads().submit, _measure, models, tuple(images)))


def _measure(models: Models, images: Sequence[EncodedImage]) -> list[Warning]:
    about_files = lint_files(check_boxes(context(), models.all, images), context().threads)
    return lint_origin(context(), models.reference, models.variants) + about_files


@st.cache_resource(show_spinner=False)
def _measured_warnings() -> LRUCache[Future[list[Warning]]]:
    return LRUCache(64)


MEASURED_SECONDS = 0.15
"""A page waits this many seconds for the warnings that need measurements, and then shows the others."""


def compared(
    models: Models, variant: LoadedModel, images: Sequence[EncodedImage], score: float, iou: float = 0.5
) -> ComparedVariant:
    """One variant compared with the reference, on the images for which both models have detections."""
    rows = (_compared_image(models, variant, image, score, iou) for image in images)
    finished = tuple(row for row in rows if row is not None)
    return ComparedVariant(models.name(variant), str(variant.scheme), variant.digest, finished)


def _compared_image(
    models: Models, variant: LoadedModel, image: EncodedImage, score: float, iou: float
) -> ComparedImage | None:
    """The comparison on one image, or None if one of the two models has no detections for it."""
    pair = models.reference, variant
    first, second = (results().inference(model, image) for model in pair)
    if not isinstance(first, Inference) or not isinstance(second, Inference):
        return None
    labels = models.reference.inspection.labels, variant.inspection.labels
    keys = tuple((model.digest, model.settings) for model in pair)
    return _compared().get(
        (keys, image.digest, image.name, score, iou),
        lambda: compare_image(image.name, image.digest, first, second, labels, score, iou),
    )


def failures(models: Models, images: Sequence[EncodedImage]) -> list[str]:
    """One sentence per failure of a model on an image. If all models fail in the same way, one sentence per image."""
    sentences: dict[str, None] = {}
    for image in images:
        answers = {model.name: results().inference(model, image) for model in models.all}
        errors = {name: answer for name, answer in answers.items() if isinstance(answer, QvizError)}
        texts = {str(error) for error in errors.values()}
        if len(texts) == 1 and len(errors) == len(answers):
            sentences |= dict.fromkeys(texts)  # all models failed in the same way, so the image is the cause
        else:
            sentences |= {f"{name} on {image.name}: {error}": None for name, error in errors.items()}
    return list(sentences)


@st.cache_resource(show_spinner=False)
def threads() -> ThreadPoolExecutor:
    """A thread pool for short tasks that wait for workers, such as conversions."""
    return ThreadPoolExecutor(2, thread_name_prefix="qviz-server")


CONVERSION_SECONDS = 1.0
"""Seconds between two checks whether a conversion is finished."""


@st.cache_resource(show_spinner=False)
def _conversions() -> LRUCache[Future[list[ModelSource]]]:
    return LRUCache(16)


def _conversion(source: ModelSource) -> Future[list[ModelSource]]:
    """Start converting a SavedModel or Keras file to .tflite in the background."""
    key = (source.digest, source.settings, source.sidecar, source.name)
    return _conversions().get(key, partial(threads().submit, ready, [source]))


def with_finished_conversions(current: Workspace) -> Workspace:
    """The workspace with each converted model in place of its source; a failed conversion adds a notice."""
    for source in current.models:
        if not source.is_ready and _conversion(source).done():
            rest = tuple(other for other in current.models if other is not source)
            try:
                (converted,) = _conversion(source).result()
                current = replace(current, models=rest).with_models([converted])
            except QvizError as error:
                current = replace(current, models=rest).with_notices([str(error)])
    return workspace.keep(current)


def show_conversions(current: Workspace) -> None:
    """Show which models are being converted, and rerun the page when a conversion finishes."""
    waiting = [source for source in current.models if not source.is_ready]
    if not waiting:
        return

    @clicks.fragment(run_every=CONVERSION_SECONDS)
    def look() -> None:
        if any(_conversion(source).done() for source in waiting):
            st.rerun()
        for source in waiting:
            st.text(f"Converting {source.name} ({source.kind}) to a float32 .tflite file; this takes about 20 s …")

    look()
