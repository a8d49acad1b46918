import numpy as np
import pytest

from qviz.decoders import Limits
from qviz.decoders.end_to_end import EndToEnd
from tests.decoders.heads import BOX, CELLS, CLASS, HEIGHT, LIMITS, WIDTH, assert_planted, graph_of, head_of

GRAPH = graph_of((1, 20, 6))
NORMALISED = tuple(np.array(BOX) / (WIDTH, HEIGHT, WIDTH, HEIGHT))


def planted(box=BOX, score: float = 0.8) -> np.ndarray:
    """Twenty rows: a low-score object of class 1, the planted one, and unused rows."""
    rows = np.zeros((1, 20, 6))
    rows[0, 0] = *np.array(box) / 2, 0.1, 1
    rows[0, 1] = *box, score, CLASS
    return rows


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, CELLS, 6)),  # one row per cell: one class of YOLOX or two of YOLOv8
        graph_of((1, 3 * CELLS, 6)),
        graph_of((1, 20, 7)),
        graph_of((2, 20, 6)),
        graph_of((1, 4000, 6)),
        graph_of((1, 20, 6), (1,)),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not EndToEnd().matches(graph)


def test_unused_rows_are_not_detections():
    """Even with a threshold of 0."""
    result = EndToEnd().decode(head_of(GRAPH, planted()), Limits(0.0, 0.6, 100))
    assert len(result.detections) == 2


@pytest.mark.parametrize("box", [BOX, NORMALISED])
def test_finds_the_object_and_hides_the_candidates(box):
    assert_planted(EndToEnd().decode(head_of(GRAPH, planted(box)), LIMITS), 0.8, candidates=None)


def test_class_and_score_before_the_box():
    values = planted()[..., [5, 4, 0, 1, 2, 3]]
    values[0, 2:, 0] = -1  # marks unused rows there
    assert_planted(EndToEnd().decode(head_of(GRAPH, values), LIMITS), 0.8, candidates=None)


def test_rows_without_batch():
    graph = graph_of((20, 6))
    assert EndToEnd().matches(graph)
    assert_planted(EndToEnd().decode(head_of(graph, planted()[0]), LIMITS), 0.8, candidates=None)


def test_sorted_by_score_and_limited_to_max_detections():
    values = planted(score=0.3)
    values[0, 5] = *BOX, 0.9, 0
    result = EndToEnd().decode(head_of(GRAPH, values), Limits(0.05, 0.6, 2)).detections
    np.testing.assert_allclose(result.scores, [0.9, 0.3])


def test_background_is_left_out():
    result = EndToEnd().decode(head_of(GRAPH, planted()), Limits(0.05, 0.6, 100, class_offset=1)).detections
    np.testing.assert_array_equal(result.class_ids, [CLASS - 1, 0])
