import itertools

import numpy as np
import pytest

from qviz.decoders.boxes_and_scores import BoxesAndScores
from tests.decoders.heads import (
    BOX,
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

SIDES = (WIDTH, HEIGHT, WIDTH, HEIGHT)


def boxes(centres: bool = False, unit: tuple[int, ...] = (1, 1, 1, 1)) -> np.ndarray:
    """(1, 126, 4): small boxes at the cell centres, and the planted one."""
    rows = []
    for stride in (8, 16, 32):
        for y, x in itertools.product(range(HEIGHT // stride), range(WIDTH // stride)):
            cx, cy = (x + 0.5) * stride, (y + 0.5) * stride
            rows.append((cx, cy, 4, 4) if centres else (cx - 2, cy - 2, cx + 2, cy + 2))
    rows[CELL] = (CENTRE_X, CENTRE_Y, BOX_WIDTH, BOX_HEIGHT) if centres else BOX
    return np.array([rows]) / unit


def scores(columns: int = 3) -> np.ndarray:
    values = np.zeros((1, CELLS, columns))
    values[0, CELL, CLASS] = 0.8
    return values


def best() -> tuple[np.ndarray, np.ndarray]:
    """The best score and class of every box, (1, 126) each."""
    values, classes = np.full((1, CELLS), 0.01), np.zeros((1, CELLS))
    values[0, CELL], classes[0, CELL] = 0.8, CLASS
    return values, classes


def decode(*arrays, names=()):
    graph = graph_of(*(array.shape for array in arrays), names=names)
    assert BoxesAndScores().matches(graph)
    return BoxesAndScores().decode(head_of(graph, *arrays), LIMITS)


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, 100, 4), (1, 100), (1, 100)),  # ends in NMS
        graph_of((1, CELLS, 4), (1, CELLS)),
        graph_of((1, CELLS, 4), (1, CELLS), (1, CELLS), (1,)),
        graph_of((1, CELLS, 5), (1, CELLS, 3)),
        graph_of((1, CELLS, 4), (1, CELLS, 4)),  # four classes without distinguishing names
        graph_of((1, 3 * CELLS, 4), (1, 3 * CELLS, 3)),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not BoxesAndScores().matches(graph)


@pytest.mark.parametrize("unit", [(1, 1, 1, 1), SIDES])
@pytest.mark.parametrize("centres", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_one_score_per_class(swapped, centres, unit):
    arrays = (boxes(centres, unit), scores())
    assert_planted(decode(*(arrays[::-1] if swapped else arrays)), 0.8)


def test_channels_first_layout():
    assert_planted(decode(boxes().transpose(0, 2, 1), scores().transpose(0, 2, 1)), 0.8)


def test_four_classes_are_distinguished_from_boxes_by_name():
    assert_planted(decode(scores(4), boxes(), names=("scores", "boxes")), 0.8)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_best_score_and_its_class(order):
    arrays = (boxes(), *best())
    assert_planted(decode(*(arrays[i] for i in order)), 0.8)


def test_names_distinguish_classes_if_values_do_not():
    """All scores saturated at 0 and 1, as coarse quantization leaves them."""
    values, classes = best()
    values = np.rint(values)
    assert_planted(decode(boxes(), classes, values, names=("boxes", "class_idx", "scores")), 1.0)
