"""The parts of the Compare page.

A comparison of one image as the viewer component takes it (the contract stands in viewer/viewer.js).

The viewer filters by threshold without asking the server: for every threshold at which something changes, the rows of
the assignment are sent along, computed by the same `changes` as everywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from qviz.chart_style import REFERENCE, variant_colour
from qviz.errors import DatasetError, QvizError
from qviz.features.accuracy.truth import labelled_truths
from qviz.features.comparison import ComparedObject, ComparedVariant
from qviz.features.comparison.matching import ObjectChange, changes
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.structures import Detections, EncodedImage, GroundTruth, Inference, digest_of
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import glossary, server, view
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.server import Models
from qviz.ui.view import View
from qviz.ui.viewer import ViewerState, viewer

GRID = np.round(np.arange(CANDIDATE_FLOOR, 0.951, 0.01), 2)
"""The slider's steps."""

Pane = tuple[str, Inference]
"""A variant's short name and its run."""


def payload(
    image: EncodedImage,
    preview: Preview,
    found: Models,
    reference: Inference,
    panes: Sequence[Pane],
    truth: GroundTruth | None,
    view: View,
    selected: str | None,
    position: tuple[int, int],
    iou: float = 0.5,
) -> dict[str, Any]:
    """The viewer's data; `rev` changes with whatever is drawn, the place in the strip aside."""
    shown = [_variant(found, name, reference, run, iou) for name, run in panes]
    data = {
        "image": {
            "src": "data:image/jpeg;base64," + base64.b64encode(preview.jpeg).decode(),
            "width": preview.width,
            "height": preview.height,
            "name": image.name,
        },
        "reference": {
            "name": found.name(found.reference),
            "colour": REFERENCE,
            "boxes": _boxes(reference.detections),
        },
        "variants": shown,
        "truth": _truth(truth),
        "labels": _labels(found, [reference, *(run for _, run in panes)], truth),
        "position": {"index": position[0], "count": position[1]},
    }
    return {"rev": _rev(image, found, panes), **data, "view": _view(view, shown, selected)}


def _rev(image: EncodedImage, found: Models, panes: Sequence[Pane]) -> str:
    models = [(model.digest, model.settings) for model in found.all]
    return digest_of(repr((image.digest, image.name, models, [name for name, _ in panes])).encode())[:16]


def _boxes(found: Detections) -> list[list[float]]:
    return [
        [*(round(float(side), 2) for side in box), round(float(score), 4), int(class_id)]
        for box, score, class_id in zip(found.boxes, found.scores, found.class_ids, strict=True)
    ]


def _variant(found: Models, name: str, reference: Inference, run: Inference, iou: float) -> dict[str, Any]:
    position = next(i for i, variant in enumerate(found.variants) if found.name(variant) == name)
    return {
        "id": f"v{position}",
        "name": name,
        "scheme": str(found.variants[position].scheme),
        "colour": variant_colour(position),
        "boxes": _boxes(run.detections),
        "steps": threshold_steps(reference, run, iou),
    }


def threshold_steps(reference: Inference, run: Inference, iou: float) -> list[list[Any]]:
    """[[threshold, rows], ...]: the rows in force from each threshold on at which they change."""
    scores = np.concatenate([reference.detections.scores, run.detections.scores])
    steps: list[list[Any]] = []
    above = -1
    for threshold in GRID:
        count = int((scores >= np.float32(threshold)).sum())
        if count != above:  # nothing was crossed since the last step: the same objects, the same rows
            above = count
            rows = changes(reference.detections, run.detections, run.candidates, float(threshold), iou)
            steps.append([float(threshold), [_row(row) for row in rows]])
    return steps


def _row(row: ObjectChange) -> list[Any]:
    return [
        -1 if row.reference is None else row.reference,
        -1 if row.variant is None else row.variant,
        str(row.change),
        None if row.iou is None else round(row.iou, 3),
        None if row.lost_because is None else str(row.lost_because),
    ]


def _truth(truth: GroundTruth | None) -> list[list[float]] | None:
    if truth is None:
        return None
    return [
        [*(float(side) for side in box), int(class_id)]
        for box, class_id in zip(truth.boxes, truth.class_ids, strict=True)
    ]


def _labels(found: Models, runs: Sequence[Inference], truth: GroundTruth | None) -> dict[str, str]:
    used = {int(class_id) for run in runs for class_id in run.detections.class_ids}
    used |= {int(class_id) for class_id in truth.class_ids} if truth is not None else set()
    return {str(class_id): found.reference.inspection.label(class_id) for class_id in sorted(used)}


def _view(view: View, shown: Sequence[dict[str, Any]], selected: str | None) -> dict[str, Any]:
    return {
        "threshold": view.score,
        "floor": CANDIDATE_FLOOR,
        "mode": view.mode,
        "focus": shown[0]["id"] if shown else None,
        "changes": list(view.changes),
        "classes": list(view.classes),
        "truth": view.truth,
        "selected": selected,
        "present": view.present,
    }


def warning_text(warning: Warning) -> str:
    """A warning in two sentences."""
    return f"{warning.message} {warning.cure}"


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
    results, models = server.results(), [here.models.reference, *variants]
    results.want(models, [image], urgent=True)
    results.want_previews([image], SCREEN, urgent=True)
    answers = [results.inference(model, image, PATIENCE) for model in models]
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
        return labelled_truths(row, dataset, here.models.reference.inspection.labels)
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
        column_config=glossary.numbers(TABLE_FORMATS, TABLE_TERMS),
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
