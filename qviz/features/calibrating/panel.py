"""The Calibration tab: the form, the progress and the results of the calibration lab."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz import formatting
from qviz.chart_style import variant_colour
from qviz.context import Context
from qviz.engine import LocalEngine, importing
from qviz.errors import QuantizeError, QvizError
from qviz.features.building import panel_images
from qviz.features.building.calibration import METHODS
from qviz.features.building.conditions import check
from qviz.features.building.recipes import recipe_of
from qviz.features.building.source import float_model, source_of
from qviz.features.calibrating import MIN_IMAGES, Plan, calibrated_recipes, calibration, halves
from qviz.features.calibrating.plot import calibration_curve, layer_changes, mistake_bars, stability_curve
from qviz.features.calibrating.result import CalibrationLab, Tried
from qviz.features.calibrating.text import (
    additions_sentence,
    mismatch_sentence,
    outlier_sentence,
    stability_sentence,
    title,
    verdict,
)
from qviz.features.corruption_sweep.panel import sources
from qviz.features.corruption_sweep.panel_images import download_additions
from qviz.features.detection.models import LoadedModel
from qviz.job import Job
from qviz.structures import Dataset, EncodedImage
from qviz.ui import clicks, jobs, page, requested
from qviz.ui.dataset_choice import Source
from qviz.ui.jobs import Work
from qviz.ui.page import Page

DEFAULT_EVALUATED_IMAGES = 40
"""Default number of images to measure on. It is small because about thirty variants run on every image."""
REQUEST = "qviz_lab_request"


@dataclass(frozen=True, slots=True, eq=False)
class LabRequest:
    """The form's values for one reference. `key` identifies the data on which the variants are measured."""

    reference: LoadedModel
    images: tuple[EncodedImage, ...]
    dataset: Dataset
    plan: Plan
    key: Hashable

    @property
    def job_key(self) -> Hashable:
        digests = tuple(image.digest for image in self.images)
        return self.reference.digest, self.reference.settings, digests, self.key, self.plan


def show(here: Page) -> None:
    """Draw the form, the progress and the result."""
    headline = st.container()
    try:
        _form(here)
    except QvizError as error:
        st.text(str(error))
    request: LabRequest | None = requested.last(REQUEST)
    colour = variant_colour(len(here.loaded.variants))  # the colour that the next variant would get
    if request is None or request.reference.digest != here.loaded.reference.digest:
        with headline:
            page.verdict(
                "Find out how many images calibration needs, which ones, and what wrong ones cost.",
                "Calibrations on 1, 2, 4, … images, without outliers and with the usual mistakes are each built and"
                " measured.",
            )
        return
    job = _start(request)
    if not job.finished:
        with headline:
            page.verdict(f"Trying calibrations of {here.loaded.name(request.reference)} …")
    elif job.error is not None or job.cancelled:
        with headline:
            page.verdict("Stopped; the detections so far are kept." if job.cancelled else "The lab has failed.")
    again = partial(jobs.forget, "calibration", request.job_key)
    if jobs.wait(job, "lab", again, partial(_draw_partial, colour)):
        lab = job.future.result()
        with headline:
            page.verdict(verdict(lab), _basis(lab))
        _show_results(lab, request.dataset, colour)


def _start(request: LabRequest) -> Job[CalibrationLab]:
    def run(context: Context) -> CalibrationLab:
        source = source_of(request.reference)
        # its own workers, so that some forty files are freed when they end and the session's workers stay available
        with LocalEngine(warm_up=importing("qviz.detector")) as engine:
            lab_context = replace(context, engine=engine)
            reference = float_model(lab_context, request.reference, source)
            return calibration(lab_context, reference, source, request.images, request.dataset, plan=request.plan)

    return jobs.start("calibration", request.job_key, run, step="Starting workers", unit="images", work=_work(request))


def _work(request: LabRequest) -> Work:
    plan = request.plan
    subject = jobs.subject_of(request.reference.digest, plan.recipe, plan.ranges, len(request.images))
    return Work(subject, len(request.dataset.images) * plan.draws, plan.recipe)


def _draw_partial(colour: str, lab: CalibrationLab) -> None:
    if lab.stability is not None:
        page.small_text(stability_sentence(lab))
    if lab.curve:
        count = sum(len(point.tried) for point in lab.curve)
        st.plotly_chart(calibration_curve(lab, colour), width="stretch", key=f"lab-partial-{count}")


def _form(here: Page) -> None:
    """Draw the form; a click on its button stores the request. Raises ImageError."""
    left, middle, right = st.columns([8, 3, 5])
    recipe = middle.selectbox("Recipe", calibrated_recipes(), key="lab-recipe", persist_state="session")
    ranges = right.selectbox(
        "Activation ranges",
        METHODS,
        format_func=METHODS.__getitem__,
        key="lab-method",
        persist_state="session",
    )
    choice, images = panel_images.choose_images(here, left, "lab")
    first, second, third = st.columns([8, 3, 5], vertical_alignment="bottom")
    by_digest = sources(here)
    source = _choose_source(first, by_digest) if by_digest else None
    available = len(source.dataset.images) if source is not None else 1
    count = second.number_input(
        "Images to measure on",
        1,
        available,
        min(DEFAULT_EVALUATED_IMAGES, available),
        key=f"lab-judged-{available}",
        help=f"Evenly spread over the {available}.",
        persist_state="session",
    )
    draws = third.number_input(
        "Draws per image count", 1, 10, Plan.of().draws, key="lab-draws", persist_state="session"
    )
    plan = Plan(recipe, ranges, int(draws))
    request = _request(here.loaded.reference, source, choice, images, int(count), plan)
    refusal = request if isinstance(request, str) else _refusal(here, recipe)
    if refusal:
        st.text(refusal)
    elif isinstance(request, LabRequest) and (time := jobs.expected_time("calibration", _work(request))):
        page.small_text(time)
    key = None if isinstance(request, str) else request.job_key
    if key is not None and requested.last(REQUEST) is None and jobs.has_result("calibration", key):
        requested.note(REQUEST, request)
    begin = partial(requested.keep, REQUEST, request)
    clicks.button(st, "Run the lab", begin, "lab-start", st.rerun, disabled=bool(refusal), type="primary")


def _choose_source(container: DeltaGenerator, by_digest: dict[str, Source]) -> Source:
    digest = container.selectbox(
        "Measured on",
        list(by_digest),
        format_func=lambda digest: by_digest[digest].label,
        key="lab-source",
        persist_state="session",
        help="AP where objects are annotated, else agreement with the reference.",
    )
    return by_digest.get(digest) or next(iter(by_digest.values()))


def _request(
    reference: LoadedModel,
    source: Source | None,
    choice: str,
    images: tuple[EncodedImage, ...],
    count: int,
    plan: Plan,
) -> LabRequest | str:
    """The request, or a text on why there is none. Loaded images without annotations are split into halves."""
    if source is None:
        return "Drop photos first: calibrations are compared by what is detected on them."
    if not images:
        return "Choose calibration images first: 50 to 500 representative ones."
    if choice != panel_images.LOADED or not source.reference_as_truth:
        if choice == panel_images.LOADED:
            page.small_text("Measured on its own calibration images, a variant looks slightly better than it is.")
        return LabRequest(reference, images, source.dataset.spread(count), plan, (source.digest, count))
    if len(images) < MIN_IMAGES:
        return f"Load at least {MIN_IMAGES} images: one half to calibrate on, the other half to measure on."
    first_half, second_half = halves(images, plan.seed)
    page.small_text("Half of the loaded images calibrate, agreement is measured on the other half.")
    return LabRequest(reference, tuple(first_half), second_half.spread(count), plan, (source.digest, count, "half"))


def _refusal(here: Page, recipe: str) -> str:
    """Why this recipe cannot be built from the reference; empty if it can."""
    reference = here.loaded.reference
    if reference.refusal:
        return f"TensorFlow Lite cannot express {reference.name}, so nothing can be built from it."
    try:
        check(recipe_of(recipe), source_of(reference).graph)
    except QuantizeError as error:
        return str(error)
    return ""


POINTS = st.column_config.NumberColumn(format="%.1f", width="small")


def _basis(lab: CalibrationLab) -> str:
    """A sentence on what was measured, and on which images."""
    value = (
        "AP (pycocotools), ×100, higher is better"
        if lab.annotated
        else "No annotations: agreement with the reference, ×100"
    )
    return (
        f"{lab.source}, {lab.recipe}, {lab.method}; {lab.dataset}: {formatting.plural(lab.evaluated_images, 'image')}."
        f" {value}. In brackets: 95% interval over these images. Measuring the ranges of"
        f" {formatting.plural(lab.images, 'calibration image')} took {lab.seconds:.1f} s."
    )


def _show_results(lab: CalibrationLab, dataset: Dataset, colour: str) -> None:
    """Draw the results section by section, sentences first. `colour` is the colour of the variants."""
    for sentence in lab.skipped:
        st.text(sentence)
    st.subheader("How many images")
    st.plotly_chart(calibration_curve(lab, colour), width="stretch", key="lab-curve")
    with st.expander("Every draw"):
        _table([row for point in lab.curve for row in point.tried], lab, "lab-draws-table")
    _mistakes(lab, colour)
    _stability(lab, colour)
    _images(lab, dataset)


def _mistakes(lab: CalibrationLab, colour: str) -> None:
    rows = lab.other_calibrations
    if rows:
        st.subheader("Which images, and how they are prepared")
        page.small_text(mismatch_sentence(lab))
        st.plotly_chart(mistake_bars(lab, rows, colour), width="stretch", key="lab-mistakes")
        st.caption(
            "Extra: additional loss, compared with correct calibrations on the same number of images (or, where"
            " there are none, on the largest numbers). Faded: not significant. Whiskers: 95% interval."
        )
        _table(rows, lab, "lab-mistakes-table")


def _table(rows: Sequence[Tried], lab: CalibrationLab, key: str) -> None:
    measure = f"{lab.measure} ×100"
    frame = pd.DataFrame(
        [
            {
                "calibration": title(row),
                "images": row.images,
                measure: formatting.hundred(lab.value(row)),
                "loss": formatting.hundred(row.loss.value),
                "loss, interval": formatting.interval(row.loss.low, row.loss.high),
                "extra": formatting.hundred(row.extra.value),
                "extra, interval": formatting.interval(row.extra.low, row.extra.high),
                "what was done": row.refused or row.description,
            }
            for row in rows
        ]
    )
    columns = dict.fromkeys((measure, "loss", "extra"), POINTS) | {
        "images": st.column_config.NumberColumn(width="small"),
        "what was done": st.column_config.TextColumn(width="large"),
    }
    st.dataframe(frame, hide_index=True, width="stretch", placeholder="–", column_config=columns, key=key)


def _stability(lab: CalibrationLab, colour: str) -> None:
    stability = lab.stability
    st.subheader("Are the ranges stable?")
    page.small_text(stability_sentence(lab))
    if stability is None:
        return
    st.plotly_chart(stability_curve(stability, colour), width="stretch", key="lab-steady")
    if stability.changed:
        st.plotly_chart(layer_changes(stability.changed, colour), width="stretch", key="lab-layers")


def _images(lab: CalibrationLab, dataset: Dataset) -> None:
    if lab.outliers:
        st.subheader("Images that widen the ranges")
        page.small_text(outlier_sentence(lab))
        frame = pd.DataFrame(
            [
                {
                    "image": row.image,
                    "widens by": row.widening,
                    "layers": row.layers,
                    "times": row.times,
                    "clipped %": 100 * row.clipped_share,
                    "layer": row.tensor[:80],
                }
                for row in lab.outliers
            ]
        )
        columns = {
            "widens by": st.column_config.NumberColumn(format="percent", width="small", help="Mean over the layers."),
            "clipped %": st.column_config.NumberColumn(
                format="%.4f", width="small", help="Share of its activations outside the ranges of all other images."
            ),
            "times": st.column_config.NumberColumn(
                format="%.2f",
                width="small",
                help="How many times wider the range of the most affected layer gets because of this image.",
            ),
            "layers": st.column_config.NumberColumn(width="small"),
        }
        st.dataframe(frame, hide_index=True, width="stretch", height=260, column_config=columns, key="lab-outliers")
    if lab.add:
        st.subheader("Images to add")
        page.small_text(additions_sentence(lab))
        download_additions(dataset, lab.add, "calibration_images.zip", "lab-zip")
