"""A comparison of one image as the viewer component takes it (the contract stands in viewer/viewer.js).

The viewer filters by threshold without asking the server: for every threshold at which something changes, the rows of
the assignment are sent along, computed by the same `changes` as everywhere.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from qviz.analysis.changes import ObjectChange, changes
from qviz.analysis.lint import Warning
from qviz.api import SEEN_FROM
from qviz.plots.colours import REFERENCE, variant_colour
from qviz.structures import Detections, EncodedImage, GroundTruth, Inference, digest_of
from qviz.ui.calls import Models
from qviz.ui.results import Preview
from qviz.ui.view import View

GRID = np.round(np.arange(SEEN_FROM, 0.951, 0.01), 2)
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
        "floor": SEEN_FROM,
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
