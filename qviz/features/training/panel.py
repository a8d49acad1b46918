"""Train the reference for its quantization in the browser; the variant joins the session's models at once.

Trainings under way, for all sessions of this server, one at a time: each takes all cores.

They go on when the page is left, can be stopped (and built as they are) or given up, and go on from their checkpoint
when the server was killed: the same training asked for again finds it in the cache folder.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from threading import Event

import streamlit as st

from qviz import formatting
from qviz.api.building import source_of
from qviz.api.training import Hooks, trained
from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.errors import Cancelled, QvizError
from qviz.features.building import RECIPES, recipe_of
from qviz.features.building import panel as build
from qviz.features.building import panel_choice as calibration_images
from qviz.features.detection.models import LoadedModel
from qviz.features.training import FEWEST, HELD_OUT, QatResult
from qviz.features.training.plan import STEPS, plan_for
from qviz.features.training.plot import loss_curve
from qviz.features.training.trainer import forget
from qviz.formatting import duration
from qviz.progress import TimeLeft
from qviz.store import cache_folder
from qviz.structures import EncodedImage, Scheme
from qviz.ui import clicks, page, server, view
from qviz.ui.page import Page

KEPT_CHECKPOINTS = 3
"""Of trainings that were not finished; each is some tens of megabytes."""


@dataclass(frozen=True, slots=True)
class TrainJobAsked:
    """What is trained: digests of the reference and of the images, the recipe's name."""

    reference: str
    images: tuple[str, ...] = field(repr=False)
    recipe: str = "int8"
    steps: int = 240

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr((self.reference, self.images, self.recipe, self.steps)).encode()).hexdigest()


@dataclass(slots=True, eq=False)
class TrainJob:
    """Looked at by the page, run by a thread of its own."""

    asked: TrainJobAsked
    phase: str = "Waiting for another training to end"
    losses: tuple[float, ...] = ()
    seconds_left: float | None = None
    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    future: Future[QatResult] = field(default_factory=Future)
    _left: TimeLeft | None = None

    def run(self, model: LoadedModel, images: Sequence[EncodedImage]) -> QatResult:
        """In its thread. Raises Cancelled, QvizError."""
        if self.cancel.is_set():
            raise Cancelled("The training was stopped before it began.")
        kept = _checkpoint(self.asked)
        hooks = Hooks(self._watch, self._enter, stop=self.stop, cancel=self.cancel)
        found = trained(server.engine(), model, images, self.asked.recipe, self.asked.steps, kept, hooks)
        if not self.stop.is_set():  # asked for again, it goes on
            forget(kept)
        return found

    def _enter(self, words: str) -> None:
        self.phase = words

    def _watch(self, losses: tuple[float, ...]) -> None:
        self._left = self._left or TimeLeft()  # what a checkpoint had says nothing of the pace
        self.losses, self.seconds_left = losses, self._left.after(len(losses), self.asked.steps)

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.cancel.is_set():
            return "Giving up"
        if self.phase != "Training":
            return f"{self.phase} …"
        if not self.losses:
            return "Preparing the network for training; this takes about 20 s …"
        if len(self.losses) >= self.asked.steps:
            return "Building, and trying the file out …"
        said = f"Step {len(self.losses)} of {self.asked.steps}"
        if self.stop.is_set():
            return f"{said}: stopping here, and building"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def given_up(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[TrainJob]:
    return LRUCache(8)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="qviz-training")


def train_job_refusal(reference: LoadedModel, recipe: str, steps: int) -> str:
    """Why this cannot be trained, or nothing. Told before anything runs."""
    try:
        plan_for(source_of(reference).graph, recipe_of(recipe), steps)
    except QvizError as error:
        return str(error)
    return ""


def start(reference: LoadedModel, images: Sequence[EncodedImage], recipe: str, steps: int) -> TrainJob:
    """Begin, or join who began the same. What failed, was stopped or given up before goes on."""
    asked = TrainJobAsked(reference.digest, tuple(sorted(image.digest for image in images)), recipe, steps)
    key = (asked, reference.settings)

    def begin() -> TrainJob:
        job = TrainJob(asked)
        job.future = _threads().submit(job.run, reference, tuple(images))
        return job

    before = _jobs().get(key, begin)
    if before.future.done() and (before.stop.is_set() or before.future.exception() is not None):
        _jobs().forget(key)
    return _jobs().get(key, begin)


def _checkpoint(asked: TrainJobAsked) -> Path:
    """Where this training is kept; of those that nobody came back to, the latest stay."""
    try:
        folder = cache_folder() / "training"
    except RuntimeError:  # an account without a home folder
        folder = Path(tempfile.gettempdir()) / "qviz-training"
    found = folder / f"{asked.digest}.npz"
    others = [path for path in folder.glob("*.npz") if path != found]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in others[: max(len(others) - KEPT_CHECKPOINTS, 0)]:
        forget(path)
    return found


ASKED = "qviz_train_asked"
BEAT = 1.0
CHOICES = (60, 120, STEPS, 480, 960)
TRAINABLE = [name for name, row in RECIPES.items() if row.scheme is not Scheme.FLOAT16 and not row.blockwise]


@dataclass(slots=True, eq=False)
class Asked:
    """What this session had trained last. digest: of the file, once it has joined the session's models."""

    job: TrainJob
    reference: str
    name: str
    digest: str = ""


def show(here: Page) -> None:
    """The form, the loss as it falls, and what came of it."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    place = st.container()
    try:
        _form(here)
    except QvizError as refused:
        st.text(str(refused))
    asked: Asked | None = st.session_state.get(ASKED)
    if asked is None or asked.reference != reference.digest:
        with place:
            page.verdict(
                "Train the network for a recipe that costs too much.",
                "FP32 teaches the network that computes as the quantized one will, on your images, without labels."
                " Where a recipe costs nothing, training gains nothing.",
            )
        return
    if not asked.job.future.done():
        _wait_for(asked.job)
        return
    error = asked.job.future.exception()
    if isinstance(error, QvizError):
        st.text("The training was given up; asked for again, it goes on." if asked.job.given_up else str(error))
        return
    found = asked.job.future.result()
    if not asked.digest:
        asked.digest = build.join(found.trained.trained.data, asked.name)
        st.rerun()
    _show(here, asked, found)


def _form(here: Page) -> None:
    """Raises ImageError."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    first, second = st.columns([3, 3])
    recipe = first.selectbox("Recipe", TRAINABLE, index=TRAINABLE.index("dynamic_range_int4"), key="train-recipe")
    steps = second.segmented_control("Steps", CHOICES, default=STEPS, key="train-steps") or STEPS
    _note(
        f"{RECIPES[recipe].describe} {RECIPES[recipe].cannot} A step takes about half a second for a small network of"
        " 300 × 300 on two cores."
    )
    images = _images(here)
    refusal = train_job_refusal(reference, recipe, steps) or _few(images) or build.full(here.workspace)
    if refusal:
        st.text(refusal)
    running = st.session_state.get(ASKED)
    busy = running is not None and running.reference == reference.digest and not running.job.future.done()

    def begin() -> None:
        name = f"{reference.name.removesuffix('.tflite')} + {recipe} trained.tflite"
        st.session_state[ASKED] = Asked(start(reference, images, recipe, steps), reference.digest, name)

    waits = bool(refusal) or busy
    clicks.button(st, "Train and compare", begin, "train-start", st.rerun, disabled=waits, type="primary")


def _images(here: Page) -> tuple[EncodedImage, ...]:
    """What it is trained on. Raises ImageError."""
    _, images = calibration_images.choose(here, st.container(), "train", "Training images")
    if images:
        _note(
            f"{len(images)} images, one in {HELD_OUT} held out to measure what training gains. Hundreds that look like"
            " those in use are better. Judge the result on images that it was not trained on."
        )
    return images


def _few(images: tuple[EncodedImage, ...]) -> str:
    return "" if len(images) >= FEWEST else f"Choose training images first: at least {FEWEST}, better hundreds."


def _note(sentence: str) -> None:
    st.html(f'<p class="qviz qviz-note">{escape(sentence)}</p>')


@st.fragment(run_every=BEAT)
def _wait_for(job: TrainJob) -> None:
    """A bar, the loss so far, and two ways to end it; when all is there the page is drawn once more."""
    if job.future.done():
        st.rerun()
    bar, stop, give_up = st.columns([6, 1.6, 1], vertical_alignment="center")
    bar.progress(min(len(job.losses) / job.asked.steps, 1.0), text=job.progress())
    ending = job.stop.is_set() or job.cancel.is_set() or job.phase != "Training"
    stop.button(
        "Stop here, and build",
        on_click=job.stop.set,
        disabled=ending or not 0 < len(job.losses) < job.asked.steps,
        width="stretch",
        key="train-stop",
    )
    give_up.button(
        "Give up", on_click=job.cancel.set, disabled=job.cancel.is_set(), width="stretch", key="train-cancel"
    )
    if job.losses:
        figure = loss_curve(job.losses, job.asked.steps, variant_colour(0))
        st.plotly_chart(figure, width="stretch", key="train-live")


def _show(here: Page, asked: Asked, found: QatResult) -> None:
    models = here.models
    made = next((model for model in models.all if model.digest == asked.digest), None) if models else None
    if models is None or made is None:
        return  # it was removed again
    losses = found.trained.losses
    st.divider()
    st.html(f'<p class="qviz qviz-verdict">{escape(found.gain.verdict)}</p>')
    _note(
        f"{made.name} is loaded: {made.scheme}, {formatting.megabytes(made.bytes)}, {len(losses)} steps on"
        f" {found.trained_on} images in {found.trained.seconds:.0f} s. {found.trained.trained.remark}"
    )
    first, second, third = st.columns([2, 2, 2], vertical_alignment="center")
    said = {} if made is models.reference else view.to_query(replace(here.view, variants=(models.name(made),)))
    first.page_link("pages/compare.py", label="Compare it, image by image →", query_params=said)
    second.page_link("pages/accuracy.py", label="Measure its AP →")
    data = found.trained.trained.data
    third.download_button(
        "Download the file", data, made.name, "application/octet-stream", on_click="ignore", key="train-download"
    )
    if losses:
        colour = variant_colour(models.variants.index(made)) if made in models.variants else variant_colour(0)
        st.plotly_chart(loss_curve(losses, len(losses), colour), width="stretch", key="train-curve")
