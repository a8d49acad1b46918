"""Train the reference for its quantization in the browser; the variant joins the session's models at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import streamlit as st

from qviz.analysis import written
from qviz.analysis.qat_gain import FEWEST, HELD_OUT, QatResult
from qviz.errors import QvizError
from qviz.plots.colours import variant_colour
from qviz.plots.training import loss_curve
from qviz.quantize import RECIPES
from qviz.quantize.qat_plan import STEPS
from qviz.structures import EncodedImage, Scheme
from qviz.ui import build, calibration_images, clicks, page, train_job, view
from qviz.ui.page import Page
from qviz.ui.train_job import TrainJob

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
    refusal = train_job.refusal(reference, recipe, steps) or _few(images) or build.full(here.workspace)
    if refusal:
        st.text(refusal)
    running = st.session_state.get(ASKED)
    busy = running is not None and running.reference == reference.digest and not running.job.future.done()

    def begin() -> None:
        name = f"{reference.name.removesuffix('.tflite')} + {recipe} trained.tflite"
        st.session_state[ASKED] = Asked(train_job.start(reference, images, recipe, steps), reference.digest, name)

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
        f"{made.name} is loaded: {made.scheme}, {written.megabytes(made.bytes)}, {len(losses)} steps on"
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
