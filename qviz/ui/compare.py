"""The parts of the Compare page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from qviz.analysis.comparison import ComparedObject, ComparedVariant
from qviz.analysis.evaluation import truths_as_labelled
from qviz.analysis.models import LoadedModel
from qviz.errors import DatasetError, QvizError
from qviz.structures import EncodedImage, GroundTruth, Inference
from qviz.ui import calls, columns, view
from qviz.ui.overlay import payload
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.view import View
from qviz.ui.viewer import ViewerState, viewer

SCREEN = 1280
PATIENCE = 20.0
"""Seconds the page waits for the image that is looked at."""


def choose_variants(here: Page, compared: Sequence[ComparedVariant]) -> list[LoadedModel]:
    """The variants shown, the one in focus first: those of the view, else the most damaged one."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    wanted = [variant for name in here.view.variants if (variant := found.variant_named(name)) is not None]
    if not wanted and found.variants:
        worst = min(compared, key=lambda variant: variant.summary.agreement, default=None)
        wanted = [found.variant_named(worst.name) or found.variants[0]] if worst else [found.variants[0]]
    names = [found.name(variant) for variant in found.variants]
    chosen = st.pills(
        "Variants beside the reference",
        names,
        selection_mode="multi",
        default=[found.name(variant) for variant in wanted],
        wrap=True,
        key=f"qviz_variants-{','.join(names)}-{','.join(found.name(variant) for variant in wanted)}",
        label_visibility="collapsed",
    )
    picked = [name for name in here.view.variants if name in chosen] + [
        name for name in chosen if name not in here.view.variants
    ]
    if picked and picked != [found.name(variant) for variant in wanted]:
        view.change(variants=tuple(picked))
        st.rerun()
    return wanted


def run_now(here: Page, image: EncodedImage, variants: Sequence[LoadedModel]) -> tuple[Preview, list[Inference]]:
    """The picture and the runs of the reference and of these variants. Raises what made one of them fail."""
    assert here.models is not None, "pages without a model stop before"
    results, models = calls.results(), [here.models.reference, *variants]
    results.want(models, [image], urgent=True)
    results.want_previews([image], SCREEN, urgent=True)
    answers = [results.wait(model, image, PATIENCE) for model in models]
    picture = results.preview(image, SCREEN, PATIENCE)
    for answer in (picture, *answers):
        if isinstance(answer, QvizError):
            raise answer
        if answer is None:
            raise QvizError(f"{image.name} is still running after {PATIENCE:.0f} s; the server is busy, look again.")
    assert isinstance(picture, Preview), "errors were raised above"
    return picture, [answer for answer in answers if isinstance(answer, Inference)]


def truth_of(here: Page, image: EncodedImage, shown: tuple[int, int]) -> GroundTruth | None:
    """The annotations of an image in the reference's classes, where there are any."""
    dataset = here.workspace.dataset
    row = next((row for row in dataset.images if row.name == image.name), None) if dataset else None
    if dataset is None or row is None or here.models is None or (row.size and row.size != shown):
        return None  # no truth, or boxes in stored pixels of an image that is shown turned
    try:
        return truths_as_labelled(row, dataset, here.models.reference.inspection.labels)
    except DatasetError:
        return None  # other labels than the model's: nothing to lay over the image


def show_viewer(
    here: Page,
    image: EncodedImage,
    picture: Preview,
    runs: Sequence[Inference],
    variants: Sequence[LoadedModel],
    position: tuple[int, int],
) -> ViewerState:
    """The viewer; what the user did in it becomes the session's view."""
    assert here.models is not None, "pages without a model stop before"
    panes = [(here.models.name(variant), run) for variant, run in zip(variants, runs[1:], strict=True)]
    data = payload(
        image,
        picture,
        here.models,
        runs[0],
        panes,
        truth_of(here, image, (picture.width, picture.height)),
        here.view,
        view.selected(),
        position,
    )
    return viewer(data, key="viewer")


def heed(state: ViewerState, order: Sequence[EncodedImage], image: EncodedImage) -> View:
    """Take over what was done in the viewer; the next image if a key asked for it."""
    if state.step:
        at = next(i for i, other in enumerate(order) if other.digest == image.digest)
        view.select(None)
        view.change(image=order[(at + state.step) % len(order)].name)
        st.rerun()
    said: dict[str, Any] = {}
    for name, value in (
        ("score", state.threshold),
        ("mode", state.mode),
        ("changes", state.changes),
        ("classes", state.classes),
        ("truth", state.truth),
        ("present", state.present),
    ):
        if ("threshold" if name == "score" else name) in state.acted and value is not None:
            said[name] = round(value, 2) if isinstance(value, float) else value
    if "selected" in state.acted:
        view.select(state.selected or None)
    return view.change(**said) if said else view.current()


def object_table(objects: Sequence[ComparedObject], variant_id: str, key: str) -> None:
    """A row an object; a selected row is selected in the viewer, and the other way round."""
    frame = pd.DataFrame([_table_row(row) for row in objects])
    if not any(row.change == "relabelled" for row in objects):
        frame = frame.drop(columns="now", errors="ignore")
    if not any(row.lost_because for row in objects):
        frame = frame.drop(columns="why", errors="ignore")
    names = [_key(variant_id, row) for row in objects]
    event = st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        key=key,
        placeholder="–",
        column_config=columns.numbers(TABLE_FORMATS, TABLE_TERMS),
    )
    _select(names, event.selection.rows, key)


BECAUSE = {"gone": "gone from head", "threshold": "low score", "nms": "NMS", "unknown": "unknown"}
TABLE_TERMS = {"reference": "reference's confidence", "variant": "variant's confidence"}
TABLE_FORMATS = {"reference": "%.2f", "variant": "%.2f", "Δ conf.": "%+.2f", "IoU": "%.2f", "Δ IoU": "%+.2f"}


def _table_row(row: ComparedObject) -> dict[str, object]:
    """Δ conf. is variant minus reference; Δ IoU is what the box lost against the reference's own (IoU 1)."""
    return {
        "change": row.change,
        "why": BECAUSE.get(row.lost_because or ""),
        "class": row.label,
        "now": row.variant_label if row.change == "relabelled" else None,
        "reference": row.reference_score,
        "variant": row.variant_score,
        "Δ conf.": row.score_delta,
        "IoU": row.iou,
        "Δ IoU": row.iou - 1 if row.iou is not None else None,
    }


def _select(names: Sequence[str], rows: Sequence[int], key: str) -> None:
    """A click in the table that has just been made goes to the viewer."""
    picked = names[rows[0]] if rows and rows[0] < len(names) else None
    if picked != st.session_state.get(f"{key}-picked"):
        st.session_state[f"{key}-picked"] = picked
        if picked != view.selected():
            view.select(picked)
            st.rerun()


def _key(variant_id: str, row: ComparedObject) -> str:
    first = -1 if row.reference_index is None else row.reference_index
    second = -1 if row.variant_index is None else row.variant_index
    return f"{variant_id}:{first}:{second}"


def selected_text(objects: Sequence[ComparedObject], variant_id: str) -> str | None:
    """The object selected in the viewer, in a sentence."""
    chosen = view.selected()
    row = next((row for row in objects if _key(variant_id, row) == chosen), None)
    if row is None:
        return None
    scores = f"{_score(row.reference_score)} → {_score(row.variant_score)}"
    why = f": {BECAUSE[row.lost_because]}" if row.lost_because else ""
    return f"Selected: {row.label}, {row.change}{why}, confidence {scores}."


def selected_number(objects: Sequence[ComparedObject], variant_id: str) -> int | None:
    """The selected object's number among the reference's."""
    chosen = view.selected()
    return next((row.reference_index for row in objects if _key(variant_id, row) == chosen), None)


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"
