from __future__ import annotations

import numpy as np
import pytest

from qviz.structures.boxes import area, clip, from_centres, iou_matrix

PAIRS = [
    # box, box, their IoU by hand
    ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
    ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # they touch
    ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
    ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
    ((0, 0, 10, 10), (5, 5, 15, 15), 25 / 175),
    ((0, 0, 10, 10), (2, 3, 4, 5), 4 / 100),  # one inside the other
    ((0, 0, 10, 2), (0, 0, 2, 10), 4 / 36),  # x and y must not be mixed up
    ((0, 0, 0, 0), (0, 0, 0, 0), 0.0),  # both empty: no division by zero
    ((10, 10, 0, 0), (0, 0, 10, 10), 0.0),  # inverted
]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS)
def test_iou_of_a_pair(first: tuple[int, ...], second: tuple[int, ...], expected: float) -> None:
    ious = iou_matrix(np.array([first], np.float32), np.array([second], np.float32))
    assert ious.shape == (1, 1)
    assert ious[0, 0] == pytest.approx(expected, abs=1e-7)


def test_iou_matrix_has_the_first_boxes_in_rows() -> None:
    first = np.array([[0, 0, 10, 10], [0, 0, 1, 1]], np.float32)
    second = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [50, 50, 60, 60]], np.float32)
    assert iou_matrix(first, second) == pytest.approx(np.array([[1, 1 / 3, 0], [0.01, 0, 0]]))


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
def test_iou_of_empty_boxes(n: int, m: int) -> None:
    assert iou_matrix(np.zeros((n, 4), np.float32), np.zeros((m, 4), np.float32)).shape == (n, m)


def test_area_of_an_inverted_box_is_zero() -> None:
    boxes = np.array([[0, 0, 3, 5], [3, 5, 0, 0], [3, 0, 0, 5]], np.float32)
    assert area(boxes).tolist() == [15, 0, 0]


def test_clip_uses_width_for_x_and_height_for_y() -> None:
    assert clip(np.array([[-5, -5, 300, 300]], np.float32), 200, 100).tolist() == [[0, 0, 200, 100]]


def test_centres_to_corners() -> None:
    assert from_centres(np.array([[50, 20, 10, 4]], np.float32)).tolist() == [[45, 18, 55, 22]]
