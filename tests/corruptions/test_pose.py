"""Boxes after a change of pose, against the pixels themselves: white rectangles on black."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.corruptions import SEVERITIES, corrupt, corrupt_boxes

POSES = ("rotation", "perspective", "scale")
SIZE = (320, 240)
RECTANGLES = [(130, 100, 190, 140), (150, 60, 170, 180), (100, 110, 131, 125), (200, 90, 230, 150)]
TALL = (200, 331)


def drawn(box: tuple[int, int, int, int], size: tuple[int, int]) -> np.ndarray:
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return pixels


def extent(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """xyxy of the pixels that are more than half white; the border is 114."""
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_boxes_follow_their_pixels(name: str, severity: int, seed: int) -> None:
    for box, size in [*((box, SIZE) for box in RECTANGLES), ((80, 120, 121, 220), TALL)]:
        boxes, visible = corrupt_boxes(np.array([box], np.float32), size, name, severity, seed)
        expected = extent(corrupt(drawn(box, size), name, severity, seed))
        np.testing.assert_allclose(boxes[0], expected, atol=1.5)
        assert visible[0] and boxes.dtype == np.float32


def test_seeds_turn_both_ways_and_tilt_to_all_four_sides() -> None:
    box = np.array([[150, 60, 170, 100]], np.float32)  # above the centre
    centres = [corrupt_boxes(box, SIZE, "rotation", 5, seed)[0][0, ::2].mean() for seed in range(8)]
    assert min(centres) < 150 and max(centres) > 170
    views = {tuple(corrupt_boxes(box, SIZE, "perspective", 3, seed)[0][0].round(2)) for seed in range(24)}
    assert len(views) == 4


def test_a_box_turned_out_of_the_picture_is_not_visible() -> None:
    corners = [[0, 0, 24, 20], [296, 220, 320, 240], [296, 0, 320, 20], [0, 220, 24, 240]]
    boxes = np.array([*corners, [140, 100, 180, 140]], np.float32)
    after, visible = corrupt_boxes(boxes, SIZE, "rotation", 5, 0)
    assert visible.tolist() == [False, False, False, False, True]
    assert (after[:, :2] >= 0).all() and (after[:, 2] <= 320).all() and (after[:, 3] <= 240).all()


def test_boxes_over_the_edge_are_clipped_and_empty_ones_are_not_visible() -> None:
    boxes = np.array([[-50, -50, 400, 400], [10, 10, 10, 40], [500, 500, 600, 600]], np.float32)
    after, visible = corrupt_boxes(boxes, SIZE, "scale", 3, 0)
    assert visible.tolist() == [True, False, False]
    np.testing.assert_allclose(after[0], (72, 54, 248, 186))


@pytest.mark.parametrize("name", POSES)
def test_an_image_without_boxes(name: str) -> None:
    after, visible = corrupt_boxes(np.zeros((0, 4), np.float32), SIZE, name, 2, 0)
    assert after.shape == (0, 4) and visible.shape == (0,)


def test_the_border_is_the_grey_of_a_letterbox() -> None:
    white = np.full((90, 120, 3), 255, np.uint8)
    assert corrupt(white, "scale", 5, 0)[0, 0].tolist() == [114, 114, 114]
    assert corrupt(white, "rotation", 5, 0)[0, 0].tolist() == [114, 114, 114]


@pytest.mark.parametrize("name", POSES)
def test_more_of_the_image_is_lost_with_every_severity(name: str) -> None:
    white = np.full((120, 160, 3), 255, np.uint8)
    grey = [int((corrupt(white, name, severity, 0)[..., 0] == 114).sum()) for severity in SEVERITIES]
    assert np.all(np.diff([0, *grey]) > 0)
