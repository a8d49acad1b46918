"""The tab *Slices* of the Accuracy page: in which slices a variant loses more than elsewhere, with their images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
import streamlit as st

from qviz.chart_style import bracket
from qviz.context import Context
from qviz.features.accuracy import panel_tables
from qviz.features.accuracy.confusion import ImageLoss
from qviz.features.accuracy.measured import operating_at
from qviz.features.accuracy.panel import Finding
from qviz.features.accuracy.slice_loss import SliceLoss, Slices
from qviz.features.slices import panel_ranges, slices
from qviz.features.slices.losses import rank
from qviz.features.slices.panel_traits import Traits, chosen_traits
from qviz.features.slices.plot import figure
from qviz.features.slices.text import sentences
from qviz.formatting import hundred, plural
from qviz.structures import Loss
from qviz.ui import clicks, jobs, requested
from qviz.ui.jobs import Work
from qviz.ui.page import Page

SHOWN_SLICES = 40
SHOWN_IMAGES = 4
CLICKED = "qviz-slices"

DrawImages = Callable[[Sequence[ImageLoss], str], None]


def show(here: Page, finding: Finding, variant: str, draw_images: DrawImages) -> None:
    """Draw a button and, after a click, the slices of the variant in view.

    Args:
        draw_images: Draws images with their losses; its text argument becomes part of the keys of its buttons.
    """
    traits = chosen_traits(finding.source.dataset)
    if not requested.last(CLICKED):
        st.text(
            "Brightness, noise, size, position, crowding, class, fields of the annotations …: where does a variant lose"
            " more than elsewhere?"
        )
        clicks.button(
            st, "Find slices", partial(requested.keep, CLICKED, True), "accuracy-slices", st.rerun, type="primary"
        )
        return
    key = _key(here, finding, traits)
    result = _result(finding, traits, key)
    if result is None:
        return
    chosen = _draw(replace(result, remarks=(*traits.remarks, *result.remarks)), finding, variant, draw_images)
    if chosen is not None:
        panel_ranges.show(here, finding, replace(finding.evaluation, slices=result), variant, chosen, key)


def _key(here: Page, finding: Finding, traits: Traits) -> Hashable:
    """Key of everything that the slices depend on."""
    digests = tuple(model.digest for model in here.loaded.all)
    at = st.session_state.get("accuracy-at")
    return finding.source.digest, finding.source.reference_as_truth, digests, at, traits.digest, traits.names


def _result(finding: Finding, traits: Traits, key: Hashable) -> Slices | None:
    at = st.session_state.get("accuracy-at")
    evaluation, dataset = finding.evaluation, traits.dataset

    def run(context: Context) -> Slices:
        if at is None and evaluation.operating is not None:
            return slices(context, evaluation, dataset, traits.names)
        point = operating_at(evaluation, dataset, "best" if at is None else at)
        return slices(context, replace(evaluation, operating=point), dataset, traits.names)

    work = Work(amount=len(dataset.images))
    return jobs.result("slices", key, run, "slices", "Measuring images", "images", work=work)


def _draw(result: Slices, finding: Finding, variant: str, draw_images: DrawImages) -> SliceLoss | None:
    """Draw the slices, and return the one whose images are shown."""
    number = finding.names.index(variant) - 1
    for text in sentences(result, number, variant):
        st.text(text)
    rows = sorted(result.rows, key=lambda row: rank(row.losses[number].excess))[:SHOWN_SLICES]
    left, right = st.columns([3, 2], gap="medium") if result.curves else (st.container(), st.container())
    with left:
        chosen = _table(rows, number, variant)
        st.caption(
            "Points of recall (×100) at the confidence in use. Loss: reference minus variant in the slice. More: that"
            " loss minus the loss among all others. * significant, Holm-corrected over the slices. A slice without an"
            " interval has too few images or objects. Tick a row to see its images. " + " ".join(result.remarks)
        )
    with right:
        _curve(result, finding, variant, number)
    if chosen is not None:
        _images(chosen, result, finding, variant, draw_images)
    return chosen


def _table(rows: Sequence[SliceLoss], number: int, variant: str) -> SliceLoss | None:
    """Draw the slices, and return the one whose row is ticked, or the first one if none is ticked."""
    event = panel_tables.show(
        _frame(rows, number), key=f"slices-{variant}", on_select="rerun", selection_mode="single-row"
    )
    ticked = [row for row in event.selection.rows if row < len(rows)]
    return rows[ticked[0]] if ticked else rows[0] if rows else None


def _curve(result: Slices, finding: Finding, variant: str, number: int) -> None:
    if not result.curves:
        return
    names = [curve.trait for curve in result.curves]
    name = st.selectbox("Loss over", names, key="slices-curve")
    curve = next(curve for curve in result.curves if curve.trait == name)
    points = tuple(replace(point, losses=(point.losses[number],)) for point in curve.points)
    chart = figure(replace(curve, points=points), [variant], [finding.colour(variant)])
    st.plotly_chart(chart, width="stretch", key=f"slices-curve-{name}-{variant}")
    st.caption("Ranges with about equally many objects; bars: 95% intervals, not corrected for the number of ranges.")


def _images(chosen: SliceLoss, result: Slices, finding: Finding, variant: str, draw_images: DrawImages) -> None:
    st.text(f"{_title(chosen)}: {plural(chosen.truths, 'object')} on {plural(chosen.images, 'image')}")
    left, right = st.columns(2)
    with left:
        st.download_button(
            f"List of these {plural(chosen.images, 'image')}",
            "\n".join(chosen.image_names) + "\n",
            f"{chosen.trait}_{chosen.group}.txt".replace("/", "_"),
            "text/plain",
            on_click="ignore",
            key=f"slices-list-{variant}",
        )
    with right:
        st.download_button(
            "CSV: the images of every slice",
            result.images_to_csv,
            "slices.csv",
            "text/csv",
            on_click="ignore",
            key=f"slices-csv-{variant}",
        )
    names = set(chosen.image_names)
    losses = [row for row in finding.details[variant].images if row.name in names and row.loss > 0]
    if not losses:
        st.text(f"On none of these images does {variant} lose an object or add a false alarm.")
    draw_images(losses[:SHOWN_IMAGES], "slice")


def _title(row: SliceLoss) -> str:
    return f"{row.meaning[0].upper()}{row.meaning[1:]}"


def _frame(rows: Sequence[SliceLoss], number: int) -> pd.DataFrame:
    losses = [row.losses[number] for row in rows]
    return pd.DataFrame(
        {
            "slice": [_title(row) for row in rows],
            "loss": [hundred(loss.loss.value) for loss in losses],
            "interval": [_bracket(loss.loss) for loss in losses],
            "more": [hundred(loss.excess.value) for loss in losses],
            "interval of more": [_bracket(loss.excess) for loss in losses],
            "objects": [row.truths for row in rows],
            "images": [row.images for row in rows],
        }
    )


def _bracket(loss: Loss) -> str:
    return (bracket(loss) or "") + (" *" if loss.significant else "")
