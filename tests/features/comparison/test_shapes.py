"""Keypoints, masks and rotated boxes of two models' objects: figures computed by hand, and what the viewer draws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qviz.features.comparison import compare_image
from qviz.features.comparison.panel_shapes import mask_path, viewer_shapes
from qviz.features.comparison.shapes import keypoint_similarity, mask_iou
from qviz.structures import Detections, Inference
from qviz.structures.polygons import hulls, polygon_iou_matrix, rotated

BOX = np.array([0, 0, 100, 50], np.float32)
POINTS = np.array([[10, 10, 1], [50, 20, 0.9], [90, 40, 0.1]], np.float32)


def packed(cells: np.ndarray) -> np.ndarray:
    return np.packbits(np.broadcast_to(cells, (64, 64)).astype(bool), axis=1)


LEFT = packed(np.arange(64) < 32)
FULL = packed(np.ones(64))


def inference(detections: Detections) -> Inference:
    return Inference(detections, None, 200, 100, 1.0)


def test_keypoint_similarity_is_that_of_its_formula() -> None:
    """Area .53 x 5000; k = 2/3 for each of three keypoints; the third is not visible and does not count."""
    moved = POINTS.copy()
    moved[0, :2] += (3, 4)
    moved[2, :2] += 80
    expected = (math.exp(-(5**2) / (2 * 0.53 * 5000 * (2 / 3) ** 2)) + 1) / 2
    assert keypoint_similarity(POINTS, moved, BOX) == pytest.approx(expected)
    assert keypoint_similarity(POINTS, POINTS[:2], BOX) is None
    assert keypoint_similarity(POINTS * [1, 1, 0], POINTS, BOX) is None


def test_coco_keypoints_have_their_own_deviations() -> None:
    """The same distance matters more at an eye (.025) than at a hip (.107)."""
    points = np.ones((17, 3)) * [50, 25, 1]
    eye, hip = points.copy(), points.copy()
    eye[1, 0] += 5
    hip[11, 0] += 5
    lost = [1 - (keypoint_similarity(points, moved, BOX) or 0) for moved in (eye, hip)]
    assert lost[0] == pytest.approx((1 - math.exp(-25 / (2 * 0.53 * 5000 * 0.05**2))) / 17)
    assert lost[1] < lost[0] / 2


def test_mask_iou_of_boxes_that_differ() -> None:
    assert mask_iou(BOX, LEFT, BOX, FULL) == pytest.approx(0.5)
    assert mask_iou(BOX, FULL, BOX, FULL) == 1
    half = BOX * [1, 1, 0.5, 1]
    assert mask_iou(BOX, LEFT, half, FULL) == pytest.approx(1)
    assert mask_iou(BOX, LEFT, BOX + np.array([50, 0, 50, 0]), LEFT) == 0
    assert mask_iou(BOX, packed(np.zeros(64)), BOX, packed(np.zeros(64))) is None


def test_pairs_of_a_comparison_have_both_figures_and_lost_objects_none() -> None:
    reference = Detections.of(
        [BOX, BOX + 90], [0.9, 0.8], [0, 0], keypoints=np.stack([POINTS, POINTS]), masks=np.stack([LEFT, LEFT])
    )
    variant = replace(reference, masks=np.stack([FULL, FULL]))[:1]
    image = compare_image("a", "0", inference(reference), inference(variant), (("x",), ("x",)), 0.25, 0.5)
    assert [row.change for row in image.objects] == ["kept", "lost"]
    assert [row.keypoint_similarity for row in image.objects] == [1, None]
    assert [row.mask_iou for row in image.objects] == [pytest.approx(0.5), None]


def test_rotated_boxes_are_matched_by_their_own_overlap() -> None:
    """Two crossing boxes have the same upright box, but overlap by a tenth."""
    corners = rotated(np.array([[50, 50, 80, 8]] * 2), np.array([math.pi / 4, -math.pi / 4]))
    first, second = (Detections.of(hulls(c[None]), [0.9], [0], corners=c[None]) for c in corners)
    image = compare_image("a", "0", inference(first), inference(second), (("x",), ("x",)), 0.25, 0.5)
    assert [row.change for row in image.objects] == ["lost", "spurious"]
    turned = replace(first, corners=first.corners[:, ::-1])  # the same box, its corners in the other direction
    image = compare_image("a", "0", inference(first), inference(turned), (("x",), ("x",)), 0.25, 0.5)
    assert [(row.change, row.iou) for row in image.objects] == [("kept", pytest.approx(1))]
    overlap = 8 * 8 / (2 * 80 * 8 - 8 * 8)
    np.testing.assert_allclose(polygon_iou_matrix(corners, corners), [[1, overlap], [overlap, 1]], rtol=1e-4)


def test_overlaps_of_rotated_boxes_are_those_of_opencv() -> None:
    import cv2

    draw = np.random.default_rng(0)
    centres = np.concatenate([draw.uniform(20, 80, (20, 2)), draw.uniform(2, 50, (20, 2))], axis=1)
    angles = draw.uniform(-1, 3, 20)
    ours = polygon_iou_matrix(rotated(centres, angles), rotated(centres, angles)[:, ::-1])
    boxes = [((x, y), (w, h), math.degrees(a)) for (x, y, w, h), a in zip(centres.tolist(), angles, strict=True)]
    for i, first in enumerate(boxes):
        for j, second in enumerate(boxes):
            _, points = cv2.rotatedRectangleIntersection(first, second)
            shared = 0.0 if points is None else cv2.contourArea(cv2.convexHull(points))
            areas = first[1][0] * first[1][1] + second[1][0] * second[1][1]
            assert ours[i, j] == pytest.approx(shared / (areas - shared), abs=1e-4)


def test_paths_of_the_viewer() -> None:
    assert viewer_shapes(Detections.of([BOX], [0.9], [0])) is None
    square = rotated(np.array([[50, 25, 100, 50]]), np.zeros(1))
    detections = Detections.of([BOX], [0.9], [0], keypoints=POINTS[None], masks=LEFT[None], corners=square)
    (shape,) = viewer_shapes(detections) or []
    assert shape["outline"] == "M0.0 0.0L100.0 0.0L100.0 50.0L0.0 50.0Z"
    assert shape["points"] == "M10.0 10.0L10.0 10.0M50.0 20.0L50.0 20.0"  # the third is not visible
    assert "bones" not in shape
    assert shape["mask"] == "M0.0 0.0H50.0V50.0H0.0V0.0Z"
    hole = np.ones((64, 64), bool)
    hole[16:32, 16:32] = False
    assert mask_path(packed(hole), BOX).count("Z") == 2
    assert mask_path(packed(np.zeros(64)), BOX) == ""
    checks = np.indices((64, 64)).sum(axis=0) % 2  # cells that touch at corners only
    assert mask_path(packed(checks), BOX).count("M") > 1
