"""YOLOv8 for poses, masks and rotated boxes, before and after NMS, and rows of corners."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qviz.decoders import DECODERS, choose, fitting
from qviz.structures import Graph
from qviz.structures.graph import HeadNotes
from tests.decoders.heads import BOX, CELL, CELLS, CLASS, HEIGHT, LIMITS, WIDTH, assert_planted, graph_of, head_of

SIDES = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
GRID = [
    ((x + 0.5) * stride, (y + 0.5) * stride, stride)
    for stride in (8, 16, 32)
    for y in range(HEIGHT // stride)
    for x in range(WIDTH // stride)
]


def rows(columns: int, corners: bool = False) -> np.ndarray:
    """(126, columns): small boxes around every cell in pixels, and the planted one."""
    values = np.zeros((CELLS, columns))
    for i, (x, y, stride) in enumerate(GRID):
        half = stride * 0.7
        values[i, :4] = (x - half, y - half, x + half, y + half) if corners else (x, y, 2 * half, 2 * half)
    x1, y1, x2, y2 = BOX
    values[CELL, :4] = BOX if corners else ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
    values[CELL, 4 + CLASS] = 0.8
    return values


def noted(graph: Graph, **notes: object) -> Graph:
    return replace(graph, notes=HeadNotes(**notes))  # type: ignore[arg-type]


@pytest.mark.parametrize("normalised", [True, False])
def test_corners_and_centres_differ_in_their_values(normalised: bool) -> None:
    graph = graph_of((1, 7, CELLS))
    for corners, name, other in ((True, "yolov8_corners", "yolov8"), (False, "yolov8", "yolov8_corners")):
        values = rows(7, corners)
        values[:, :4] /= SIDES if normalised else 1
        head = head_of(graph, values.T[None])
        first, second = DECODERS[name].fit(head), DECODERS[other].fit(head)
        assert first is not None and second is not None and first > second + 0.3
        assert_planted(DECODERS[name].decode(head, LIMITS), 0.8)


def test_an_objectness_and_a_first_class_differ_in_their_values() -> None:
    graph = graph_of((1, CELLS, 9))  # four classes with an objectness, or five without
    assert fitting(graph)[:2] == ("yolox", "yolov8")
    plain = rows(9)
    plain[:30, 4] = 0.9
    head = head_of(graph, plain[None])
    assert (DECODERS["yolov8"].fit(head) or 0) > (DECODERS["yolox"].fit(head) or 0) + 0.5
    with_objectness = rows(9)
    with_objectness[:30, 4] = with_objectness[:30, 6] = 0.9
    head = head_of(graph, with_objectness[None])
    assert (DECODERS["yolox"].fit(head) or 0) > (DECODERS["yolov8"].fit(head) or 0) + 0.5


@pytest.mark.parametrize(("names", "decoder"), [(7, "yolox"), (8, "yolov8")])
def test_the_number_of_names_decides_about_an_objectness(names: int, decoder: str) -> None:
    graph = graph_of((1, CELLS, 12))
    assert choose(graph, None, names)[0] == decoder
    assert choose(noted(graph, classes=names), None)[0] == decoder


def test_a_pose() -> None:
    graph = noted(graph_of((1, 4 + 3 + 12, CELLS)), task="pose", classes=3, keypoints=12)
    assert fitting(graph) == ("yolov8_tasks",)
    assert DECODERS["yolov8_tasks"].class_count(graph) == 3
    values = rows(19)
    values[:, 7:] = 50.0  # keypoints are no scores
    values[CELL, 7:] = np.arange(12)
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS)
    assert_planted(result, 0.8)
    expected = np.arange(12).reshape(4, 3)
    np.testing.assert_array_equal(result.detections.keypoints, [np.minimum(expected, [99, 99, 1])])
    assert result.candidates is not None and result.candidates.keypoints is None


def test_keypoints_of_two_values_and_normalised_rows() -> None:
    graph = noted(graph_of((1, 4 + 3 + 4, CELLS)), task="pose", classes=3, keypoints=4, keypoint_size=2)
    values = rows(11)
    values[CELL, 7:] = (31, 11, 61, 33)
    values[:, :4], values[:, 7:] = values[:, :4] / SIDES, values[:, 7:] / SIDES
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS)
    assert_planted(result, 0.8)
    np.testing.assert_allclose(result.detections.keypoints, [[[31, 11, 1], [61, 33, 1]]], rtol=1e-5)


def test_keypoints_in_pixels_beside_normalised_boxes() -> None:
    """As in older exports of Ultralytics, e.g. a public YOLOv8n-pose of 51 points of a face with 64 x 64 pixels."""
    graph = noted(graph_of((1, 4 + 3 + 6, CELLS)), task="pose", classes=3, keypoints=6)
    values = rows(13)
    values[CELL, 7:] = (31, 11, 0.9, 61, 33, 0.4)
    values[:, :4] /= SIDES
    head = head_of(graph, values.T[None])
    result = DECODERS["yolov8_tasks"].decode(head, LIMITS)
    assert_planted(result, 0.8)
    np.testing.assert_allclose(result.detections.keypoints, [[[31, 11, 0.9], [61, 33, 0.4]]], rtol=1e-5)


@pytest.mark.parametrize(("task", "columns"), [("pose", 6), ("obb", 1)])
def test_an_image_without_objects_has_no_shapes(task: str, columns: int) -> None:
    graph = noted(graph_of((1, 4 + 3 + columns, CELLS)), task=task, classes=3, keypoints=6 if task == "pose" else 0)
    values = rows(7 + columns)
    values[:, 4:7] = 0.0
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS)
    assert len(result.detections) == 0


def test_56_columns_without_notes_are_a_pose_where_keypoints_lie_in_their_boxes() -> None:
    graph = graph_of((1, 56, CELLS))
    assert fitting(graph)[:3] == ("yolov8_tasks", "yolov8", "yolov8_corners")
    assert choose(graph, None, 52)[0] == "yolov8"  # a deck of cards
    values = rows(56)
    values[:, 4] = values[:, 6]
    values[:, 5:] = 0
    values[:, 5::3], values[:, 6::3] = values[:, :1], values[:, 1:2]
    assert DECODERS["yolov8_tasks"].fit(head_of(graph, values.T[None])) == pytest.approx(1)
    cards = rows(56)
    assert (DECODERS["yolov8_tasks"].fit(head_of(graph, cards.T[None])) or 0) < 0.5


@pytest.mark.parametrize("size", [2, 3])
def test_values_show_the_keypoints_of_a_file_without_notes(size: int) -> None:
    """Four keypoints read as classes would be objects in every cell: their scores would be clipped to 1."""
    graph = graph_of((1, 4 + 3 + 4 * size, CELLS))
    assert choose(graph, None)[0] == "yolov8"
    values = rows(7 + 4 * size)
    points = values[:, 7:].reshape(CELLS, 4, size)
    points[..., :2] = values[:, None, :2] + [[-3, 1], [2, 2], [4, -4], [0, 0]]
    points[..., 2:] = 0.9
    head = head_of(graph, values.T[None])
    fits = {name: DECODERS[name].fit(head) for name in ("yolov8_pose", "yolov8", "yolov8_corners", "yolov8_rotated")}
    assert max(fits, key=lambda name: fits[name] or 0) == "yolov8_pose" and (fits["yolov8"] or 0) == 0
    result = DECODERS["yolov8_pose"].decode(head, LIMITS)
    assert_planted(result, 0.8)
    expected = points[CELL] if size == 3 else np.concatenate([points[CELL], np.ones((4, 1))], axis=1)
    np.testing.assert_allclose(result.detections.keypoints, [expected], rtol=1e-6)


def test_values_show_the_angle_of_a_file_without_notes() -> None:
    graph = graph_of((1, 4 + 3 + 1, CELLS))
    values = rows(8)
    values[:, -1] = np.linspace(-0.7, 2.3, CELLS)
    values[CELL, -1] = 0
    head = head_of(graph, values.T[None])
    assert (DECODERS["yolov8_rotated"].fit(head) or 0) > 0.5 and DECODERS["yolov8"].fit(head) == 0
    assert_planted(DECODERS["yolov8_rotated"].decode(head, LIMITS), 0.8)


@pytest.mark.parametrize("prototypes", [(1, 16, 24, 32), (1, 32, 16, 24)])
def test_masks(prototypes: tuple[int, ...]) -> None:
    """One prototype is positive left of x = 46, the middle of the box; an object's coefficient turns it round."""
    graph = graph_of((1, 4 + 3 + 32, CELLS), prototypes)
    assert fitting(graph) == ("yolov8_tasks",)
    values = rows(39)
    values[:, 7:] = 3.0  # coefficients are no scores
    values[CELL, 7:] = 0
    values[CELL, 12] = -2
    planes = np.zeros((16, 24, 32))
    planes[..., 5] = 46 - 4 * (np.arange(24) + 0.5)
    planes = planes if prototypes[3] == 32 else planes.transpose(2, 0, 1)
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None], planes[None]), LIMITS)
    assert_planted(result, 0.8)
    assert result.detections.masks is not None
    mask = np.unpackbits(result.detections.masks[0], axis=1)
    np.testing.assert_array_equal(mask, np.tile(np.arange(64) >= 32, (64, 1)))


def test_a_rotated_box_and_the_upright_one_around_it() -> None:
    graph = noted(graph_of((1, 4 + 3 + 1, CELLS)), task="obb", classes=3)
    values = rows(8)
    values[CELL, -1] = math.pi / 2
    x, y, w, h = values[CELL, :4]
    upright = (x - h / 2, y - w / 2, x + h / 2, y + w / 2)
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS)
    assert_planted(result, 0.8, box=upright)
    corners = [[x + h / 2, y - w / 2], [x + h / 2, y + w / 2], [x - h / 2, y + w / 2], [x - h / 2, y - w / 2]]
    np.testing.assert_allclose(result.detections.corners, [corners], atol=1e-4)


def test_crossing_rotated_boxes_survive_nms_although_their_upright_boxes_are_equal() -> None:
    graph = noted(graph_of((1, 4 + 3 + 1, CELLS)), task="obb", classes=3)
    values = rows(8)
    values[CELL, :4] = (46, 30, 40, 6)
    values[CELL + 1] = values[CELL]
    values[CELL, -1], values[CELL + 1, -1] = math.pi / 4, -math.pi / 4
    values[CELL + 2] = values[CELL]
    values[CELL + 2, 6] = 0.5  # the same box with a lower score
    detections = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS).detections
    assert len(detections) == 2
    np.testing.assert_allclose(detections.boxes[0], detections.boxes[1], atol=1e-4)


def test_finished_rows_with_keypoints_masks_and_angles() -> None:
    """Exports with `nms=True`, and YOLO26: corners (rotated boxes: x, y, w, h), score, class, extras."""
    row = np.zeros((1, 20, 12))
    row[0, 3] = (*BOX, 0.8, CLASS, 31, 12, 0.9, 61, 33, 0.2)
    graph = noted(graph_of((1, 20, 12)), task="pose", classes=3, keypoints=6, keypoint_size=3)
    assert fitting(graph) == ("end_to_end",)
    detections = DECODERS["end_to_end"].decode(head_of(graph, row), LIMITS).detections
    np.testing.assert_allclose(detections.boxes, [BOX])
    np.testing.assert_allclose(detections.keypoints, [[[31, 12, 0.9], [61, 33, 0.2]]], rtol=1e-6)

    row = np.zeros((1, 20, 38))
    row[0, 3] = (*BOX, 0.8, CLASS, *[1.0] * 32)
    graph = graph_of((1, 20, 38), (1, 16, 24, 32))
    assert fitting(graph) == ("end_to_end",)
    head = head_of(graph, row, np.ones((1, 16, 24, 32)))
    masks = DECODERS["end_to_end"].decode(head, LIMITS).detections.masks
    assert masks is not None and (masks == 255).all() and masks.shape == (1, 64, 8)

    row = np.zeros((1, 20, 7))
    row[0, 3] = (46 / 96, 22 / 64, 32 / 96, 24 / 64, 0.8, CLASS, math.pi)
    graph = noted(graph_of((1, 20, 7)), task="obb", classes=3)
    assert fitting(graph) == ("end_to_end",)
    assert_planted(DECODERS["end_to_end"].decode(head_of(graph, row), LIMITS), 0.8, candidates=None)


def test_a_pose_of_unknown_size_is_not_read_as_classes() -> None:
    """The task is stated, but neither the keypoints nor the class names: nothing says where the scores end."""
    assert fitting(noted(graph_of((1, 31, CELLS)), task="pose")) == ()
