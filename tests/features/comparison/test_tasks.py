"""Toy networks for poses, masks and rotated boxes, float32 and int8: their boxes are those of the plain network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qviz.engine import LocalEngine
from qviz.session import Session
from tests.squares import Squares

SETTINGS: dict[str, Any] = {"mean": 0, "std": 255, "resize": "stretch"}


def session(engine: LocalEngine, squares: Squares, *models: tuple[str, Any]) -> Session:
    paths = [squares.model(name, precision) for name, precision in models]
    return Session(*paths, images=squares.images, engine=engine, cache=False, **SETTINGS)


@pytest.mark.parametrize(("task", "field"), [("pose", "keypoint_similarity"), ("masks", "mask_iou"), ("rotated", None)])
def test_int8_keeps_boxes_and_shapes(engine: LocalEngine, squares: Squares, task: str, field: str | None) -> None:
    models = ((task, "float32"), (task, "int8"), ("reference", "float32"))
    with session(engine, squares, *models) as opened:
        variant, plain = opened.compare().variants
    assert plain.summary.agreement == 1  # nothing is read as a further class
    assert variant.summary.kept == 32 and variant.summary.agreement == 1
    rows = [row for image in variant.images for row in image.objects]
    for name in ("keypoint_similarity", "mask_iou"):
        values = [getattr(row, name) for row in rows]
        assert all(value > 0.9 for value in values) if name == field else values == [None] * 32


@pytest.mark.parametrize(
    ("name", "decoder", "shape"),
    [("pose_without_notes", "yolov8_pose", "keypoints"), ("rotated_without_notes", "yolov8_rotated", "corners")],
)
def test_without_notes_values_decide(
    engine: LocalEngine, squares: Squares, name: str, decoder: str, shape: str
) -> None:
    """Read as classes, keypoints and angles would be objects in nearly every cell."""
    with session(engine, squares, (name, "float32")) as opened:
        (model,) = opened.models_for(opened.images_of())
        (detections,) = [images["s00.png"] for images in opened.detect().values()]
    assert (model.inspection.decoder, model.inspection.sources["decoder"]) == (decoder, "guess")
    assert len(detections) == 4 and getattr(detections, shape) is not None
    sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
    np.testing.assert_allclose(sides, 32 if shape == "keypoints" else 32 * (np.cos(0.3) + np.sin(0.3)), rtol=1e-3)
