"""Part of the tab *Slices*: how many images of a slice exceed the variant's ranges, and which to calibrate with."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import streamlit as st

from qviz.context import Context
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.panel import Finding
from qviz.features.accuracy.slice_loss import SliceLoss
from qviz.features.corruption_sweep.out_of_range import has_ranges
from qviz.features.corruption_sweep.panel_images import download_additions
from qviz.features.slices.ranges import MAX_IMAGES, SliceRanges, slice_ranges
from qviz.features.slices.text import chosen_sentence
from qviz.ui import clicks, jobs, requested
from qviz.ui.jobs import Work
from qviz.ui.page import Page

CLICKED = "qviz-slice-ranges"


def show(here: Page, finding: Finding, evaluation: Evaluation, variant: str, chosen: SliceLoss, key: Hashable) -> None:
    """Draw a button and, after a click, the alarms of the chosen slice and a download of the images to add.

    Args:
        evaluation: The evaluation with its slices.
        key: Key of everything that the slices depend on.
    """
    model = here.loaded.variant_named(variant)
    if model is None or not has_ranges(here.loaded.reference, model):
        return
    if not requested.last(CLICKED):
        act = partial(requested.keep, CLICKED, True)
        clicks.button(st, "Images to calibrate with", act, "slices-ranges", st.rerun)
        return
    dataset, pair = finding.source.dataset, (here.loaded.reference, model)

    def run(context: Context) -> SliceRanges:
        return slice_ranges(context, evaluation, pair, dataset)

    work = Work(amount=min(MAX_IMAGES, len(dataset.images)))
    step = "Comparing activations with the variant's ranges"
    result = jobs.result("slice-ranges", (key, model.identity), run, "slice-ranges", step, "images", work=work)
    if result is None:
        return
    add = result.to_add(chosen.image_names)
    st.text(chosen_sentence(result, chosen, len(add), variant))
    if add:
        download_additions(dataset, add, f"calibration_{variant}_{chosen.trait}.zip", f"slices-add-{variant}")
        st.caption("`qviz evaluate --slices … --out-of-range --calibration PATH` measures what adding them brings.")
