"""YOLOv8 for poses, masks and turned boxes, and rows of corners."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qviz.decoders import DECODERS, choose, fitting
from qviz.decoders.yolo_tasks import upright
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
    assert_planted(DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS), 0.8)


def test_56_columns_without_notes_are_a_pose_where_keypoints_lie_in_their_boxes() -> None:
    graph = graph_of((1, 56, CELLS))
    assert fitting(graph) == ("yolov8_tasks", "yolov8", "yolov8_corners")
    assert choose(graph, None, 52)[0] == "yolov8"  # a deck of cards
    values = rows(56)
    values[:, 4] = values[:, 6]
    values[:, 5:] = 0
    values[:, 5::3], values[:, 6::3] = values[:, :1], values[:, 1:2]
    assert DECODERS["yolov8_tasks"].fit(head_of(graph, values.T[None])) == pytest.approx(1)
    cards = rows(56)
    assert (DECODERS["yolov8_tasks"].fit(head_of(graph, cards.T[None])) or 0) < 0.5


@pytest.mark.parametrize("prototypes", [(1, 16, 24, 32), (1, 32, 16, 24)])
def test_masks(prototypes: tuple[int, ...]) -> None:
    graph = graph_of((1, 4 + 3 + 32, CELLS), prototypes)
    assert fitting(graph) == ("yolov8_tasks",)
    values = rows(39)
    values[:, 7:] = 3.0  # coefficients are no scores
    result = DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None], np.ones(prototypes)), LIMITS)
    assert_planted(result, 0.8)


def test_a_turned_box_becomes_the_upright_one_around_it() -> None:
    graph = noted(graph_of((1, 4 + 3 + 1, CELLS)), task="obb", classes=3)
    values = rows(8)
    values[CELL, -1] = math.pi / 2
    x, y, w, h = values[CELL, :4]
    turned = (x - h / 2, y - w / 2, x + h / 2, y + w / 2)
    assert_planted(DECODERS["yolov8_tasks"].decode(head_of(graph, values.T[None]), LIMITS), 0.8, box=turned)
    (box,) = upright(np.array([[0.0, 0.0, 4.0, 2.0]]), np.array([math.pi / 4]))
    side = 3 * math.sqrt(2)
    np.testing.assert_allclose(box, [2 - side / 2, 1 - side / 2, 2 + side / 2, 1 + side / 2], rtol=1e-6)
