"""The dashboard's calls to the analyses: one engine, models loaded once, long jobs outside the script."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import streamlit as st

from qviz.analysis.comparison import ComparedVariant, compare_variant
from qviz.analysis.evaluation import Evaluation, evaluate
from qviz.analysis.lint import Warning, lint_comparison, lint_model
from qviz.analysis.models import (
    LoadedModel,
    ModelSource,
    choose_reference,
    finish_loading,
    follow,
    short_names,
    start_loading,
)
from qviz.detector import Inspection, warm_up
from qviz.engine import LocalEngine
from qviz.errors import QvizError
from qviz.structures import Dataset, EncodedImage, Inference, Settings
from qviz.ui.results import Results
from qviz.ui.workspace import Workspace


@st.cache_resource(show_spinner=False)
def engine() -> LocalEngine:
    """The server's worker processes."""
    return LocalEngine(warm_up=warm_up)


@st.cache_resource(show_spinner=False)
def results() -> Results:
    """Detections of all sessions."""
    return Results(engine())


@st.cache_resource(show_spinner=False, max_entries=64)
def _inspection(digest: str, said: Settings, sidecar: Settings, _source: ModelSource) -> Future[Inspection]:
    """The inspection of a file with these settings, done once for the server."""
    return start_loading(engine(), _source)


def load_sources(sources: Sequence[ModelSource]) -> tuple[list[LoadedModel], list[str]]:
    """The models that load, and a sentence for each that does not."""
    jobs = [_inspection(source.digest, source.said, source.sidecar, source) for source in sources]
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
    found, failed = load_sources(workspace.models)
    if not found:
        return None
    chosen = next((model for model in found if model.digest == workspace.reference), None)
    reference = chosen or choose_reference(found)
    variants = [follow(model, reference) for model in found if model.digest != reference.digest]
    return Models(reference, tuple(variants), short_names([reference, *variants]), tuple(failed))


def warnings(found: Models) -> list[Warning]:
    """All that lint has to say of them."""
    own = [warning for model in found.all for warning in lint_model(model)]
    return own + lint_comparison(found.reference, found.variants)


def compared(
    found: Models, variant: LoadedModel, images: Sequence[EncodedImage], score: float, iou: float = 0.5
) -> ComparedVariant:
    """One variant against the reference over those images that both have run."""
    inferences: dict[tuple[str, str], Inference] = {}
    for image in images:
        for model in (found.reference, variant):
            answer = results().found(model, image)
            if isinstance(answer, Inference):
                inferences[model.digest, image.digest] = answer
    pairs = [(image.name, image.digest) for image in images]
    done = compare_variant(found.reference, variant, pairs, inferences, score, iou)
    return replace(done, name=found.name(variant))


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


@dataclass(slots=True)
class EvaluationJob:
    """An evaluation under way: looked at by the page, run by a thread of its own."""

    total: int
    done: int = 0
    future: Future[Evaluation] = field(default_factory=Future)

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2, thread_name_prefix="qviz-evaluation")


_starting = threading.Lock()


def evaluation(found: Models, dataset: Dataset, digest: str) -> EvaluationJob:
    """The evaluation of these models on this dataset (known by `digest`), started once for the server."""
    key = (digest, tuple((model.digest, model.settings) for model in found.all))
    with _starting:
        jobs = _evaluations()
        if key not in jobs:
            job = EvaluationJob(len(dataset.images))
            job.future = _threads().submit(evaluate, engine(), found.all, dataset, on_progress=job.report)
            jobs[key] = job
            while len(jobs) > 32:
                jobs.pop(next(iter(jobs)))
        return jobs[key]


@st.cache_resource(show_spinner=False)
def _evaluations() -> dict[object, EvaluationJob]:
    return {}
