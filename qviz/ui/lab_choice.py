"""The form of the calibration lab: what calibrates, what is judged, which recipe, how many draws."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

import streamlit as st

from qviz.analysis.calibration_plan import DRAWS, RECIPES, Plan
from qviz.api.lab import FEWEST, halves
from qviz.errors import QuantizeError
from qviz.quantize import METHODS, check, recipe_of
from qviz.quantize.names import named_apart
from qviz.structures import Dataset, EncodedImage
from qviz.ui import accuracy_data, calibration_images, robustness_job
from qviz.ui.accuracy_data import Source
from qviz.ui.build_choice import METHODS_TOLD
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
    known = accuracy_data.sources(here)
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
    order = sorted(known, key=lambda name: ("scenes", "annotations", accuracy_data.REFERENCE).index(name))
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
