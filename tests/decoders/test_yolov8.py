import numpy as np
import pytest

from qviz.decoders.yolo import YOLOv8
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


def planted(cells: int = CELLS, unit: tuple[int, ...] = PIXELS, score: float = 0.8) -> np.ndarray:
    """(1, 4 + 3, cells), columns first."""
    values = np.zeros((1, 7, cells))
    values[0, :4, CELL] = np.array([CENTRE_X, CENTRE_Y, BOX_WIDTH, BOX_HEIGHT]) / unit
    values[0, 4 + CLASS, CELL] = score
    return values


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, CELLS, 85)),  # COCO with objectness
        graph_of((1, 85, CELLS)),
        graph_of((1, 7, 3 * CELLS)),
        graph_of((1, 4, CELLS)),  # no class
        graph_of((1, 300, 6)),
        graph_of((1, 84, 8400)),  # of another input size
    ],
)
def test_other_heads_do_not_match(graph):
    assert not YOLOv8().matches(graph)


def test_an_object_below_the_threshold_is_only_a_candidate():
    result = YOLOv8().decode(head_of(graph_of((1, 7, CELLS)), planted(score=0.2)), LIMITS)
    assert (len(result.detections), len(result.candidates)) == (0, 1)


@pytest.mark.parametrize("unit", [PIXELS, NORMALISED])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("cells", [CELLS, CELLS + 2])  # without and with stride 64
def test_finds_the_object(cells, first, unit):
    values = planted(cells, unit)
    values = values if first else values.transpose(0, 2, 1)
    graph = graph_of(values.shape)
    assert YOLOv8().matches(graph)
    assert YOLOv8().class_count(graph) == 3
    assert_planted(YOLOv8().decode(head_of(graph, values), LIMITS), 0.8)


def test_scores_above_one_are_clipped():
    assert_planted(YOLOv8().decode(head_of(graph_of((1, 7, CELLS)), planted(score=1.03)), LIMITS), 1.0)


def test_zero_scores_are_not_treated_as_logits():
    """A head broken by quantization scores 0 everywhere: these are no logits."""
    result = YOLOv8().decode(head_of(graph_of((1, 7, CELLS)), planted(score=0.0)), LIMITS)
    assert len(result.candidates) == 0


def test_finds_the_object_at_a_real_size_in_time():
    """8,400 cells of 84 columns: no Python loop over boxes."""
    import time

    values = np.random.default_rng(0).uniform(0, 0.03, (1, 84, 8400)).astype(np.float32)
    values[0, :2] *= 20_000
    head = head_of(graph_of((1, 84, 8400), size=(640, 640)), values)
    start = time.process_time()
    YOLOv8().decode(head, LIMITS)
    assert time.process_time() - start < 0.3  # 10 ms on one core
