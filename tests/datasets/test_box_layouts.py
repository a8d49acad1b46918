"""Boxes written in another order or unit than their format declares; right boxes are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.datasets.box_layouts import (
    COCO,
    ORDERS,
    PER_CENT,
    PIXEL,
    SHARE,
    TFRECORD,
    THOUSANDTHS,
    UNITS,
    VOC,
    YOLO,
    Reading,
    WrittenBoxes,
    other_reading,
)

WIDTH, HEIGHT = 640, 480


def corners(count: int = 60, seed: int = 0) -> np.ndarray:
    """(n, 4) boxes of all sizes in an image of 640 x 480."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 0.7, (count, 2))
    last = first + rng.uniform(0.05, 0.3, (count, 2))
    return np.concatenate([first, last], axis=1) * [WIDTH, HEIGHT, WIDTH, HEIGHT]


def written(reading: Reading, boxes: np.ndarray) -> np.ndarray:
    """The boxes in another order and unit."""
    whole = UNITS[reading.unit]
    scaled = boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT] * whole if whole else boxes
    x1, y1, x2, y2 = scaled.T
    columns = {
        "xywh": (x1, y1, x2 - x1, y2 - y1),
        "xyxy": (x1, y1, x2, y2),
        "centre": ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1),
        "yxyx": (y1, x1, y2, x2),
        "xxyy": (x1, x2, y1, y2),
        "yxhw": (y1, x1, y2 - y1, x2 - x1),
    }[reading.order]
    return np.stack(columns, axis=1)


def sizes(count: int) -> np.ndarray:
    return np.tile([WIDTH, HEIGHT], (count, 1))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("order", ORDERS)
def test_a_reading_gives_back_the_corners(order: str, unit: str) -> None:
    reading = Reading(order, unit)
    values = written(reading, corners())
    np.testing.assert_allclose(reading.corners(values, sizes(60)), corners(), atol=1e-9)
    assert reading.fits(values, sizes(60)).all()


@pytest.mark.parametrize("declared", [COCO, YOLO, VOC, TFRECORD])
@pytest.mark.parametrize("seed", range(5))
def test_right_boxes_are_left_alone(declared: Reading, seed: int) -> None:
    assert other_reading(declared, written(declared, corners(seed=seed)), sizes(60)) is None


MISTAKES = [
    (COCO, Reading("xyxy", PIXEL)),
    (COCO, Reading("centre", PIXEL)),
    (COCO, Reading("xywh", SHARE)),
    (COCO, Reading("centre", SHARE)),
    (COCO, Reading("xyxy", SHARE)),
    (COCO, Reading("xywh", PER_CENT)),
    (COCO, Reading("xyxy", PER_CENT)),
    (COCO, Reading("xyxy", THOUSANDTHS)),
    (COCO, Reading("yxyx", PIXEL)),
    (YOLO, Reading("xyxy", SHARE)),
    (YOLO, Reading("xywh", SHARE)),
    (YOLO, Reading("centre", PIXEL)),
    (YOLO, Reading("xyxy", PIXEL)),
    (YOLO, Reading("centre", PER_CENT)),
    (VOC, Reading("xywh", PIXEL)),
    (VOC, Reading("xyxy", SHARE)),
    (VOC, Reading("xxyy", PIXEL)),
    (TFRECORD, Reading("xyxy", PIXEL)),
    (TFRECORD, Reading("centre", SHARE)),
]


@pytest.mark.parametrize(("declared", "actual"), MISTAKES)
def test_the_mistake_is_named(declared: Reading, actual: Reading) -> None:
    boxes = WrittenBoxes.of(declared)
    for row in written(actual, corners()).tolist():
        boxes.add(row, (WIDTH, HEIGHT), "a.jpg")
    problem = boxes.problem()
    assert problem is not None
    assert problem.serious
    assert problem.code == ("box_order" if actual.unit == declared.unit else "box_unit")
    assert actual.text in problem.message + problem.fix
    assert declared.text in problem.message
    assert 0 < len(problem.examples) <= 5


def test_small_objects_near_the_corner_are_no_mistake() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.uniform(0, 30, (8, 2)), rng.uniform(2, 9, (8, 2))], axis=1)
    assert other_reading(COCO, values, sizes(8)) is None


def test_a_few_boxes_beyond_the_image_are_counted() -> None:
    boxes = WrittenBoxes.of(COCO)
    for number, row in enumerate(written(COCO, corners()).tolist()):
        boxes.add([row[0], row[1], 900, row[3]] if number < 3 else row, (WIDTH, HEIGHT), f"{number}.jpg")
    problem = boxes.problem()
    assert problem is not None
    assert (problem.code, problem.count, problem.serious) == ("box_beyond_image", 3, False)
    assert problem.message == "3 of 60 boxes reach beyond their images."
    assert problem.examples[0].startswith("0.jpg: [")


def test_no_problem_without_boxes_or_sizes() -> None:
    boxes = WrittenBoxes.of(COCO)
    assert boxes.problem() is None
    boxes.add([1, 2, float("nan"), 4], (WIDTH, HEIGHT), "a.jpg")
    boxes.add([1, 2, 3000, 4], None, "a.jpg")
    assert boxes.problem() is None
