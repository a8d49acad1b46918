import math

import numpy as np
import pytest

from qviz.decoders.yolo import YOLOX
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

GRAPH = graph_of((1, CELLS, 5 + 3))


def centres() -> np.ndarray:
    """(126, 2) the middle of every cell in pixels, by loops."""
    rows = []
    for stride in (8, 16, 32):
        for y in range(HEIGHT // stride):
            rows += [((x + 0.5) * stride, (y + 0.5) * stride) for x in range(WIDTH // stride)]
    return np.array(rows)


def raw(objectness: float = 0.9, score: float = 0.8) -> np.ndarray:
    values = np.zeros((1, CELLS, 8))
    values[0, CELL, :4] = CENTRE_X / 16 - 2, CENTRE_Y / 16 - 1, math.log(BOX_WIDTH / 16), math.log(BOX_HEIGHT / 16)
    values[0, CELL, 4], values[0, CELL, 5 + CLASS] = objectness, score
    return values


def decoded_in_model(pixels: bool) -> np.ndarray:
    values = raw()
    values[0, :, :2], values[0, :, 2:4] = centres(), 8
    values[0, CELL, :4] = CENTRE_X, CENTRE_Y, BOX_WIDTH, BOX_HEIGHT
    if not pixels:
        values[0, :, :4] /= (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return values


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, CELLS - 1, 8)),  # no box a cell
        graph_of((1, 3 * CELLS, 8)),  # three: YOLOv5
        graph_of((1, CELLS, 84)),  # COCO without objectness
        graph_of((1, CELLS, 8), ends=("SOFTMAX",)),
        graph_of((1, 8, CELLS)),  # columns first
        graph_of((1, CELLS, 8), (1, CELLS, 8)),
        graph_of((1, CELLS, 5)),  # no class
        graph_of((1, CELLS, 8), size=(64, 96 + 32)),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not YOLOX().matches(graph)


@pytest.mark.parametrize("graph", [GRAPH, graph_of((-1, CELLS, 8)), graph_of((1, CELLS, 8), nchw=True)])
def test_finds_its_head(graph):
    assert YOLOX().matches(graph)
    assert YOLOX().class_count(graph) == 3


@pytest.mark.parametrize(("objectness", "score"), [(0.04, 1.0), (1.0, 0.04), (0.2, 0.2)])
def test_scores_below_the_floor_are_not_candidates(objectness, score):
    result = YOLOX().decode(head_of(GRAPH, raw(objectness, score)), LIMITS)
    assert len(result.detections) == 0
    assert len(result.candidates) == 0


def test_decodes_offsets_in_cells():
    assert_planted(YOLOX().decode(head_of(GRAPH, raw()), LIMITS), 0.72)


@pytest.mark.parametrize("pixels", [True, False])
def test_boxes_decoded_by_the_model_are_unchanged(pixels):
    assert_planted(YOLOX().decode(head_of(GRAPH, decoded_in_model(pixels)), LIMITS), 0.72)


def test_small_offsets_are_not_mistaken_for_centres():
    """Offsets that vary at random over the cells, as a real image gives them."""
    values = raw()
    values[0, :, :2] += np.random.default_rng(0).uniform(-1, 2, (CELLS, 2))
    values[0, CELL, :2] = CENTRE_X / 16 - 2, CENTRE_Y / 16 - 1
    assert_planted(YOLOX().decode(head_of(GRAPH, values), LIMITS), 0.72)


def test_logits_go_through_the_sigmoid():
    values = raw()
    values[0, :, 4:] = -9
    values[0, CELL, 4] = values[0, CELL, 5 + CLASS] = 2
    assert_planted(YOLOX().decode(head_of(GRAPH, values), LIMITS), (1 / (1 + math.exp(-2))) ** 2)


def test_two_boxes_on_one_object_are_two_candidates_and_one_detection():
    values = raw()
    values[0, CELL + 1] = values[0, CELL]
    values[0, CELL + 1, 0] -= 1  # the cell on the right
    values[0, CELL + 1, 4] = 0.5
    assert_planted(YOLOX().decode(head_of(GRAPH, values), LIMITS), 0.72, candidates=2)


def test_a_huge_exponent_stays_finite():
    values = raw()
    values[0, CELL, 2:4] = 400
    assert np.isfinite(YOLOX().decode(head_of(GRAPH, values), LIMITS).detections.boxes).all()
