"""Train the reference for its quantization in the browser; the result is added to the session's models immediately.

A training is a job of the server. Only one runs at a time, because it uses all cores. It continues when the user leaves
the page, and can be stopped early (the result so far is then built) or cancelled. If the same training is started
again, it continues from its checkpoint in the cache folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event

import streamlit as st

from qviz import formatting
from qviz.context import Context
from qviz.errors import QvizError
from qviz.features.building import panel as build
from qviz.features.building import panel_images
from qviz.features.building.recipes import RECIPES, recipe_of
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel
from qviz.features.training import HOLDOUT_EVERY, MIN_IMAGES, QatResult, qat
from qviz.features.training.plan import STEPS, plan_for
from qviz.features.training.plot import figure
from qviz.features.training.text import verdict
from qviz.features.training.trainer import remove_checkpoint
from qviz.job import Job
from qviz.store import user_folder
from qviz.structures import EncodedImage, digest_of
from qviz.ui import clicks, jobs, page, requested
from qviz.ui.jobs import Work
from qviz.ui.page import Page

STATE = "qviz_new_trained_variant"
STEP_CHOICES = (60, 120, STEPS, 480, 960)
OTHER_CHECKPOINTS = 3
"""Maximum number of other trainings whose checkpoints stay in the cache folder, at tens of megabytes each."""


def refusal(reference: LoadedModel, recipe: str, steps: int) -> str:
    """The reason why this reference cannot be trained; empty if it can. Nothing is run."""
    try:
        plan_for(source_of(reference).graph, recipe_of(recipe), steps)
    except QvizError as error:
        return str(error)
    return ""


def start(reference: LoadedModel, images: Sequence[EncodedImage], recipe: str, steps: int) -> build.NewVariant:
    """Start a training, or join another session's identical one. An unfinished training is continued."""
    images = tuple(images)
    training = (reference.digest, tuple(sorted(image.digest for image in images)), recipe, steps)
    finish_early = Event()

    def train(context: Context) -> QatResult:
        checkpoint = _checkpoint(digest_of(repr(training).encode()))
        result = qat(
            context, reference, images, recipe=recipe, steps=steps, checkpoint=checkpoint, finish_early=finish_early
        )
        if not finish_early.is_set():
            remove_checkpoint(checkpoint)
        return result

    def use_event(job: Job[QatResult]) -> None:
        finish_early.clear()
        job.finish_early = finish_early

    key = (training, reference.settings)
    begin = partial(jobs.restart, "train", key, train, "Starting", "", use_event, work=_work(reference, recipe, steps))
    name = f"{reference.name.removesuffix('.tflite')} + {recipe} trained.tflite"
    return build.NewVariant(reference.digest, begin, name)


def _work(reference: LoadedModel, recipe: str, steps: int) -> Work:
    return Work(jobs.subject_of(reference.digest, recipe), steps, recipe)


def _checkpoint(digest: str) -> Path:
    """The checkpoint file of this training. Also removes the oldest checkpoints of other trainings."""
    try:
        folder = user_folder("cache") / "training"
    except RuntimeError:  # an account without a home folder
        folder = Path(tempfile.gettempdir()) / "qviz-training"
    checkpoint = folder / f"{digest}.npz"
    others = sorted(
        (path for path in folder.glob("*.npz") if path != checkpoint), key=lambda path: path.stat().st_mtime
    )
    for path in others[: max(len(others) - OTHER_CHECKPOINTS, 0)]:
        remove_checkpoint(path)
    return checkpoint


def show(here: Page) -> None:
    """Draw the form, the loss during the training, and the result."""
    reference = here.loaded.reference
    top = st.container()
    try:
        _draw_form(here, reference)
    except QvizError as error:
        st.text(str(error))
    new: build.NewVariant | None = requested.last(STATE)
    if new is None or new.reference != reference.digest:
        with top:
            page.verdict(
                "Train the network for a recipe that loses too much.",
                "On your images, the quantized network learns to reproduce the outputs of FP32; no labels are needed."
                " If a recipe loses nothing, training gains nothing.",
            )
    elif jobs.wait(new.job, "train", new.begin_again, _draw_loss, keep=True):
        result: QatResult = new.job.future.result()
        if not new.digest:
            new.digest = build.join(result.data, new.name)
            st.rerun()
        _show_result(here, new, result)


def _draw_form(here: Page, reference: LoadedModel) -> None:
    """Draw the form. Raises ImageError if an image cannot be read."""
    left, right = st.columns([3, 3])
    names = [name for name, row in RECIPES.items() if not row.untrainable]
    recipe = left.selectbox(
        "Recipe", names, index=names.index("dynamic_range_int4"), key="train-recipe", persist_state="session"
    )
    steps = (
        right.segmented_control(
            "Steps", STEP_CHOICES, default=STEPS, key="train-steps", persist_state="session", wrap=True
        )
        or STEPS
    )
    time = jobs.expected_time("train", _work(reference, recipe, steps))
    page.small_text(f"{RECIPES[recipe].description} {RECIPES[recipe].limitation} {time}".strip())
    _, images = panel_images.choose_images(here, st.container(), "train", "Training images")
    if images:
        page.small_text(
            f"{formatting.plural(len(images), 'image')}, one in {HOLDOUT_EVERY} held out to measure the gain. Hundreds"
            " of representative images are better. Evaluate the result on images that it was not trained on."
        )
    problem = refusal(reference, recipe, steps) or _too_few(images) or build.full(here.workspace)
    if problem:
        st.text(problem)
    new: build.NewVariant | None = requested.last(STATE)
    is_running = new is not None and new.reference == reference.digest and not new.job.finished

    def begin() -> None:
        requested.keep(STATE, start(reference, images, recipe, steps))

    disabled = bool(problem) or is_running
    clicks.button(st, "Train and compare", begin, "train-start", st.rerun, disabled=disabled, type="primary")


def _too_few(images: Sequence[EncodedImage]) -> str:
    if len(images) >= MIN_IMAGES:
        return ""
    return f"Choose training images first: at least {MIN_IMAGES}; hundreds are better."


def _draw_loss(result: QatResult) -> None:
    st.plotly_chart(figure(result), width="stretch", key="train-live")


def _show_result(here: Page, new: build.NewVariant, result: QatResult) -> None:
    model = build.joined_model(here, new)
    if model is None or result.built is None:
        return  # the user has removed it again
    st.divider()
    page.verdict(verdict(result))
    page.small_text(
        f"{model.name} is loaded: {model.scheme}, {formatting.megabytes(model.bytes)},"
        f" {formatting.plural(len(result.losses), 'step')} on {formatting.plural(result.trained_on, 'image')} in"
        f" {formatting.duration(result.seconds)}. {result.built.remark}"
    )
    build.links(here, model, result.data, "pages/accuracy.py", "Measure its AP →", "train-download")
    if result.losses:
        st.plotly_chart(figure(result, here.loaded.colours[model.digest]), width="stretch", key="train-curve")
