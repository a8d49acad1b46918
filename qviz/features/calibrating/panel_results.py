"""What a calibration lab found: the curve, the mistakes, how steady ranges are, which images matter.

The form of the calibration lab: what calibrates, what is judged, which recipe, how many draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd
import streamlit as st

from qviz import formatting
from qviz.api.lab import FEWEST, halves
from qviz.errors import QuantizeError
from qviz.features.building import METHODS, check, recipe_of
from qviz.features.building import panel_choice as calibration_images
from qviz.features.building.names import named_apart
from qviz.features.building.panel_choice import METHODS_TOLD
from qviz.features.calibrating import DRAWS, RECIPES, Plan
from qviz.features.calibrating.plot import calibration_curve, layer_changes, mistake_bars, steadiness
from qviz.features.calibrating.result import CalibrationLab, Tried
from qviz.features.calibrating.text import add_sentence, mismatch_sentence, outlier_sentence, stability_sentence, title
from qviz.features.corruption_sweep import panel as robustness_job
from qviz.features.corruption_sweep import panel_tabs as robustness_images
from qviz.structures import Dataset, EncodedImage
from qviz.ui import dataset_choice
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page

JUDGED = 40
"""Images judged unless somebody wants more: each is run by some thirty variants."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the form says. refusal: why the lab cannot run on it, or nothing."""

    images: tuple[EncodedImage, ...]
    data: Dataset | None = field(repr=False)
    digest: str
    plan: Plan
    refusal: str = ""


def form(here: Page) -> Choice:
    """Draw it. Raises ImageError."""
    left, middle, right = st.columns([8, 3, 5])
    recipe = middle.selectbox("Recipe", RECIPES, key="lab-recipe", persist_state="session")
    method = right.selectbox(
        "Range of an activation",
        METHODS,
        format_func=METHODS_TOLD.__getitem__,
        key="lab-method",
        persist_state="session",
    )
    way, images = calibration_images.choose(here, left, "lab")
    known = dataset_choice.sources(here)
    first, second, third = st.columns([8, 3, 5], vertical_alignment="bottom")
    source = _source(first, known) if known else None
    most = len(source.dataset.images) if source is not None else 1
    judged = second.number_input(
        "Images to judge by",
        1,
        most,
        min(JUDGED, most),
        key=f"lab-judged-{most}",
        help=f"Evenly out of {most}.",
        persist_state="session",
    )
    draws = third.number_input("Draws of each number", 1, 10, DRAWS, key="lab-draws", persist_state="session")
    plan = Plan(recipe, method, int(draws))
    choice = _on(source, way, images, int(judged), plan)
    return Choice(choice.images, choice.data, choice.digest, plan, choice.refusal or _unfit(here, recipe))


def _source(place: st.delta_generator.DeltaGenerator, known: dict[str, Source]) -> Source:
    order = sorted(known, key=lambda name: ("scenes", "annotations", dataset_choice.REFERENCE).index(name))
    digests = {known[name].digest: known[name] for name in order}
    digest = place.selectbox(
        "Judged on", list(digests), format_func=lambda name: digests[name].label, key="lab-source",
        help="AP where objects are annotated; else agreement with the reference.",
    )  # fmt: skip
    return digests.get(digest) or next(iter(digests.values()))


def _on(source: Source | None, way: str, images: tuple[EncodedImage, ...], judged: int, plan: Plan) -> Choice:
    """Images that calibrate are not judged where nothing else is at hand: one half each."""
    if source is None:
        return Choice(images, None, "", plan, "Drop photos first: calibrations are judged by what is found on them.")
    if not images:
        return Choice(images, None, "", plan, "Choose calibration images first: 50 to 500 that look like those in use.")
    if source.reference_as_truth and way == calibration_images.LOADED:
        if len(images) < FEWEST:
            few = f"{len(images)} loaded images are too few to calibrate on one half and judge by the other."
            return Choice(images, None, "", plan, few)
        own, data = halves(images, plan.seed)
        note("Half of the loaded images calibrate, the other half is judged, without annotations.")
        return Choice(tuple(own), robustness_job.spread(data, judged), f"{source.digest} half", plan)
    if way == calibration_images.LOADED:
        note("Calibrations on images that they are judged by look a little better than they are.")
    return Choice(images, robustness_job.spread(source.dataset, judged), source.digest, plan)


def _unfit(here: Page, recipe: str) -> str:
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    if reference.refusal:
        return f"TensorFlow Lite cannot express {reference.name}, so nothing can be built from it."
    try:
        check(recipe_of(recipe), named_apart(reference.inspection.graph))
    except QuantizeError as error:
        return str(error)
    return ""


def note(*sentences: str) -> None:
    """Plain text, as names come from files."""
    st.html(f'<p class="qviz qviz-note">{escape(" ".join(filter(None, sentences)))}</p>')


POINTS = st.column_config.NumberColumn(format="%.1f", width="small")
SHARE = st.column_config.NumberColumn(format="percent", width="small")


def reminder(found: CalibrationLab) -> str:
    """What the figures stand on."""
    what = (
        "AP (pycocotools), ×100, higher is better"
        if found.annotated
        else "Nothing is annotated: agreement with the reference, ×100"
    )
    return (
        f"{found.source}, {found.recipe}, {found.method}; {found.dataset}: {found.judged} images. {what}. In brackets:"
        f" 95% interval over those images. The ranges of {found.images} images took {found.seconds:.1f} s."
    )


def show(found: CalibrationLab, data: Dataset, colour: str) -> None:
    """Section by section; sentences first."""
    for sentence in found.skipped:
        st.text(sentence)
    st.subheader("How many images")
    st.plotly_chart(calibration_curve(found, colour), width="stretch", key="lab-curve")
    with st.expander("Every draw"):
        _table([row for point in found.curve for row in point.tried], found, "lab-draws-table")
    _mistakes(found, colour)
    _steadiness(found, colour)
    _images(found, data)


def _mistakes(found: CalibrationLab, colour: str) -> None:
    left_out = (found.without_outliers,) if found.without_outliers is not None else ()
    rows = (*found.mismatch, *found.methods, *left_out)
    if rows:
        st.subheader("Which images, and how they are prepared")
        note(mismatch_sentence(found))
        st.plotly_chart(mistake_bars(found, rows, colour), width="stretch", key="lab-mistakes")
        st.caption(
            "Extra: lost beyond calibrations on as many matching images, or on enough of them. Faded: may be chance."
            " Whiskers: 95% interval."
        )
        _table(rows, found, "lab-mistakes-table")


def _table(rows: Sequence[Tried], found: CalibrationLab, key: str) -> None:
    measure = f"{found.measure} ×100"
    frame = pd.DataFrame(
        [
            {
                "calibration": title(row),
                "images": row.images,
                measure: _hundred(found.value(row)),
                "loss": _hundred(row.loss.value),
                "loss, interval": formatting.interval(row.loss.low, row.loss.high),
                "extra": _hundred(row.extra.value),
                "extra, interval": formatting.interval(row.extra.low, row.extra.high),
                "what was done": row.refused or row.told,
            }
            for row in rows
        ]
    )
    columns = {
        measure: POINTS, "loss": POINTS, "extra": POINTS,
        "images": st.column_config.NumberColumn(width="small"),
        "what was done": st.column_config.TextColumn(width="large"),
    }  # fmt: skip
    st.dataframe(frame, hide_index=True, width="stretch", placeholder="–", column_config=columns, key=key)


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _steadiness(found: CalibrationLab, colour: str) -> None:
    steady = found.stability
    st.subheader("Are the ranges steady?")
    note(stability_sentence(found))
    if steady is None:
        return
    st.plotly_chart(steadiness(steady, colour), width="stretch", key="lab-steady")
    if steady.changed:
        st.plotly_chart(layer_changes(steady.changed, colour), width="stretch", key="lab-layers")


def _images(found: CalibrationLab, data: Dataset) -> None:
    if found.outliers:
        st.subheader("Images that widen the ranges")
        note(outlier_sentence(found))
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
                for row in found.outliers
            ]
        )
        columns = {
            "widens by": st.column_config.NumberColumn(format="percent", width="small", help="Mean over the layers."),
            "clipped %": st.column_config.NumberColumn(
                format="%.4f", width="small", help="Share of its activations outside of all other images' ranges."
            ),
            "times": st.column_config.NumberColumn(
                format="%.2f", width="small", help="As wide as without it: the layer that it widens most."
            ),
            "layers": st.column_config.NumberColumn(width="small"),
        }
        st.dataframe(frame, hide_index=True, width="stretch", height=260, column_config=columns, key="lab-outliers")
    if found.add:
        st.subheader("Images to add")
        note(add_sentence(found))
        archive = robustness_images.zip_of(data, found.add)
        label = f"Download {len(found.add)} images to add to the calibration (zip)"
        st.download_button(label, archive, "calibration_images.zip", "application/zip", key="lab-zip")
