"""The viewer on the Compare page: its data, and what the user did in it.

The format of the data is described in viewer/viewer.js. The viewer applies the threshold without asking the server: for
every threshold at which something changes, the data contain the changes of all objects, which `changes` computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from qviz.chart_style import REFERENCE, variant_colour
from qviz.errors import DatasetError
from qviz.features.accuracy.truth import labelled_truths
from qviz.features.comparison.matching import IOU, ObjectChange, changes
from qviz.features.comparison.panel_shapes import viewer_shapes
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, GroundTruth, Inference, digest_of
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import view
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.server import Models
from qviz.ui.view import MAX_SCORE, View
from qviz.ui.viewer import ViewerState, step, viewer

GRID = np.round(np.arange(CANDIDATE_FLOOR, MAX_SCORE + 0.001, 0.01), 2)
"""The steps of the threshold slider."""

KEY = "viewer"

Pane = tuple[str, Inference]
"""Short name of a variant, and its inference."""


def show_viewer(
    here: Page,
    image: EncodedImage,
    picture: Preview,
    runs: Sequence[Inference],
    variants: Sequence[LoadedModel],
    position: tuple[int, int],
) -> ViewerState:
    """Show the viewer, and return what the user did in it.

    Args:
        runs: Inferences of the reference and of these variants.
        position: (number of the image from 0, number of images).
    """
    models = here.loaded
    panes = [(models.name(variant), run) for variant, run in zip(variants, runs[1:], strict=True)]
    truth = _ground_truth(here, image, (picture.width, picture.height))
    data = payload(image, picture, models, runs[0], panes, truth, here.view, view.selected(), position)
    return viewer(data, key=KEY)


def stepped(order: Sequence[EncodedImage], number: int) -> int:
    """The number of the image to show: `number`, unless the user has gone on in the viewer."""
    chosen = number

    def go_on(steps: int) -> None:
        nonlocal chosen
        chosen = (number + steps) % len(order)
        view.change(image=order[chosen].name)

    step(KEY, go_on)
    return chosen


def apply_events(state: ViewerState) -> View:
    """The view after what the user did in the viewer.

    If the threshold has changed, the page is rerun; the order and the badges of the strip depend on it.
    """
    values: dict[str, Any] = {
        "score": None if state.threshold is None else round(state.threshold, 2),
        **{name: getattr(state, name) for name in ("mode", "changes", "classes", "truth", "present")},
    }
    acted = {"score" if name == "threshold" else name for name in state.acted}
    changed = {name: value for name, value in values.items() if name in acted and value is not None}
    if "selected" in acted:
        view.select(state.selected or None)
    before = view.current()
    if not changed:
        state.done()
        return before
    current = view.change(**changed)
    state.done()
    if current.score != before.score:
        view.show(current)  # the address takes precedence over the session
        st.rerun()
    return current


def _ground_truth(here: Page, image: EncodedImage, size: tuple[int, int]) -> GroundTruth | None:
    """The annotations of an image in the reference's classes, or None. size: (width, height) of the image as shown."""
    dataset = here.workspace.dataset
    row = next((row for row in dataset.images if row.name == image.name), None) if dataset else None
    if dataset is None or row is None or (row.size and row.size != size):
        return None  # in particular if the boxes refer to stored pixels and the image is shown rotated
    try:
        return labelled_truths(row, dataset, here.loaded.reference.inspection.labels)
    except DatasetError:
        return None  # the dataset has other classes than the model


def payload(
    image: EncodedImage,
    preview: Preview,
    models: Models,
    reference: Inference,
    panes: Sequence[Pane],
    truth: GroundTruth | None,
    view: View,
    selected: str | None,
    position: tuple[int, int],
    iou: float = IOU,
) -> dict[str, Any]:
    """The viewer's data. `rev` changes whenever anything that is drawn changes, except the position."""
    variants = [_variant(models, name, reference, run, iou) for name, run in panes]
    return {
        "rev": _revision(image, models, panes),
        "image": _image(image, preview),
        "reference": {
            "name": models.name(models.reference),
            "colour": REFERENCE,
            "boxes": viewer_boxes(reference.detections),
            "shapes": viewer_shapes(reference.detections),
        },
        "variants": variants,
        "truth": _truth(truth),
        "labels": _labels(models, [reference, *(run for _, run in panes)], truth),
        "position": {"index": position[0], "count": position[1]},
        "view": {
            **{name: getattr(view, name) for name in ("mode", "changes", "classes", "truth", "present")},
            "threshold": view.score,
            "floor": CANDIDATE_FLOOR,
            "focus": variants[0]["id"] if variants else None,
            "selected": selected,
        },
    }


def _image(image: EncodedImage, preview: Preview) -> dict[str, Any]:
    return {"src": preview.source, "width": preview.width, "height": preview.height, "name": image.name}


def _revision(image: EncodedImage, models: Models, panes: Sequence[Pane]) -> str:
    identities = [(model.digest, model.settings) for model in models.all]
    return digest_of(repr((image.digest, image.name, identities, [name for name, _ in panes])).encode())[:16]


def viewer_boxes(detections: Detections) -> list[list[float]]:
    """[x1, y1, x2, y2, score, class id] of each object; the viewer formats scores as the table does."""
    return [
        [*(round(float(side), 2) for side in box), round(float(score), 6), int(class_id)]
        for box, score, class_id in zip(detections.boxes, detections.scores, detections.class_ids, strict=True)
    ]


def _variant(models: Models, name: str, reference: Inference, run: Inference, iou: float) -> dict[str, Any]:
    number = next(i for i, variant in enumerate(models.variants) if models.name(variant) == name)
    return {
        "id": f"v{number}",
        "name": name,
        "scheme": str(models.variants[number].scheme),
        "colour": variant_colour(number),
        "boxes": viewer_boxes(run.detections),
        "shapes": viewer_shapes(run.detections),
        "steps": threshold_steps(reference, run, iou),
    }


def threshold_steps(reference: Inference, run: Inference, iou: float) -> list[list[Any]]:
    """[[threshold, rows], ...]: each threshold at which the rows change, with the rows that are valid from there on."""
    scores = np.concatenate([reference.detections.scores, run.detections.scores])
    steps: list[list[Any]] = []
    last_count = -1
    for threshold in GRID:
        count = int((scores >= np.float32(threshold)).sum())
        if count != last_count:  # otherwise no score lies between the two steps, and the rows have not changed
            last_count = count
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


def _labels(models: Models, runs: Sequence[Inference], truth: GroundTruth | None) -> dict[str, str]:
    class_ids = {int(class_id) for run in runs for class_id in run.detections.class_ids}
    class_ids |= {int(class_id) for class_id in truth.class_ids} if truth is not None else set()
    return {str(class_id): models.reference.inspection.label(class_id) for class_id in sorted(class_ids)}
