"""The form of the rescue: what is measured on, the budget, what is preferred, recipes, calibration images."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from qviz.analysis.rescue import AGREEMENT, AP, LATENCY, SIZE, Budget
from qviz.analysis.rescue_measure import FEWEST
from qviz.quantize import RECIPES
from qviz.structures import Dataset, EncodedImage
from qviz.ui import calibration_images, robustness_job, robustness_sweep
from qviz.ui.accuracy_data import Source
from qviz.ui.page import Page
from qviz.ui.rescue_job import Asked

IMAGES_USUAL = 100
LIMITS = {AP: (0.5, 0.0, 100.0, 0.1), AGREEMENT: (0.98, 0.0, 1.0, 0.01)}
"""Usual budget, least, most, step: in AP points (x100), and in agreement."""
PREFERRED = {SIZE: "the smallest file", LATENCY: "the fastest"}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What the form says; refusal: why it cannot be begun, or nothing."""

    asked: Asked
    dataset: Dataset
    images: tuple[EncodedImage, ...]
    refusal: str = ""


def form(here: Page) -> Form | None:
    """Draw it; None where there is nothing to measure on. Raises ImageError."""
    known = robustness_sweep.sources(here)
    if not known:
        st.text("Drop images on the Overview first: candidates are measured on them.")
        return None
    first, second = st.columns([4, 2], vertical_alignment="bottom")
    name = first.selectbox(
        "Measured on", list(known), format_func=lambda name: known[name].label, key="rescue-source",
        help="Candidates are chosen on one half of these images; the result is reported on the other.",
    )  # fmt: skip
    source = known.get(name or "", next(iter(known.values())))
    most = len(source.dataset.images)
    images = second.number_input(
        "Images", 1, most, min(IMAGES_USUAL, most), key=f"rescue-images-{most}", help=f"Evenly out of {most}."
    )
    left, middle, right = st.columns([3, 2, 3])
    budget = _budget(left, middle, source)
    prefer = right.segmented_control(
        "Looking for", list(PREFERRED), default=SIZE, format_func=PREFERRED.__getitem__, key="rescue-prefer"
    )
    recipes = st.multiselect(
        "Recipes",
        list(RECIPES),
        placeholder="all that fit the network",
        key="rescue-recipes",
    )
    _, shown = calibration_images.choose(here, st.container(), "rescue")
    digests = tuple(image.digest for image in shown)
    asked = Asked(source.digest, int(images), budget, prefer or SIZE, tuple(recipes), digests)
    return Form(asked, robustness_job.spread(source.dataset, int(images)), shown, _refusal(int(images), asked))


def _budget(
    left: st.delta_generator.DeltaGenerator, middle: st.delta_generator.DeltaGenerator, source: Source
) -> Budget:
    """AP where objects are annotated, else agreement only."""
    measures = [AGREEMENT] if source.reference_as_truth else [AP, AGREEMENT]
    told = {AP: "AP points lost, at most", AGREEMENT: "Agreement, at least"}
    measure = left.segmented_control(
        "Budget", measures, default=measures[0], format_func=told.__getitem__, key=f"rescue-measure-{len(measures)}"
    )
    measure = measure or measures[0]
    usual, least, most, step = LIMITS[measure]
    value = middle.number_input("Limit", least, most, usual, step, key=f"rescue-limit-{measure}")
    return Budget.of(max_ap_loss=value / 100) if measure == AP else Budget.of(min_agreement=value)


def _refusal(images: int, asked: Asked) -> str:
    if images < FEWEST:
        return f"At least {FEWEST} images are needed: one half to search on, the other to report on."
    wanted = [name for name in asked.recipes or RECIPES if RECIPES[name].needs_calibration]
    if wanted and not asked.calibration:
        return "Choose calibration images first: 50 to 500 that look like those in use."
    return ""
