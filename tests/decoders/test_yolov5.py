import numpy as np
import pytest

from qviz.decoders.yolo import YOLOv5
from tests.decoders.heads import (
    BOX_HEIGHT,
    BOX_WIDTH,
    CELL,
    CELLS,
    CENTRE_X,
    CENTRE_Y,
    CLASS,
    HEIGHT,
    LIMITS,
    WIDTH,
    assert_planted,
    graph_of,
    head_of,
)

PIXELS = (1, 1, 1, 1)
NORMALISED = (WIDTH, HEIGHT, WIDTH, HEIGHT)


def planted(boxes: int = 3 * CELLS, unit: tuple[int, ...] = PIXELS, objectness: float = 0.9) -> np.ndarray:
    values = np.zeros((1, boxes, 8))
    row = values[0, 50]
    row[:4] = np.array([CENTRE_X, CENTRE_Y, BOX_WIDTH, BOX_HEIGHT]) / unit
    row[4], row[5 + CLASS] = objectness, 0.8
    return values


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, CELLS, 85)),  # one box a cell
        graph_of((1, 3 * CELLS, 5)),  # no class
        graph_of((1, 3, 8, 12, 85), (1, 3, 4, 6, 85), (1, 3, 2, 3, 85)),  # not decoded
        graph_of((1, 3 * CELLS, 4), (1, 3 * CELLS, 3)),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not YOLOv5().matches(graph)


def test_zero_objectness_gives_no_detections():
    result = YOLOv5().decode(head_of(graph_of((1, 3 * CELLS, 8)), planted(objectness=0)), LIMITS)
    assert (len(result.detections), len(result.candidates)) == (0, 0)


@pytest.mark.parametrize("unit", [PIXELS, NORMALISED])
@pytest.mark.parametrize("boxes", [3 * CELLS, 3 * (CELLS + 2), 3 * 30])  # usual, with stride 64, tiny (16 and 32)
def test_finds_the_object(boxes, unit):
    graph = graph_of((1, boxes, 8))
    assert YOLOv5().matches(graph)
    assert YOLOv5().class_count(graph) == 3
    assert_planted(YOLOv5().decode(head_of(graph, planted(boxes, unit)), LIMITS), 0.72)


def test_any_row_may_hold_any_box():
    """The rows are decoded already: any row may hold any place."""
    values = planted()
    values[0, [CELL, 50]] = values[0, [50, CELL]]
    assert_planted(YOLOv5().decode(head_of(graph_of((1, 3 * CELLS, 8)), values), LIMITS), 0.72)
