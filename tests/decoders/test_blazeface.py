"""BlazeFace at 128 x 128: 16 x 16 cells of 2 anchors and 8 x 8 of 6, that is 512 + 384 = 896."""

import numpy as np
import pytest

from qviz.decoders.blazeface import BlazeFace, anchors
from tests.decoders.heads import BOX, BOX_HEIGHT, BOX_WIDTH, CENTRE_X, CENTRE_Y, LIMITS, graph_of, head_of

SQUARE = {"size": (128, 128)}
ROW = 512 + (1 * 8 + 3) * 6 + 4
"""An anchor of row 1, column 3 of stride 16: at 56, 24."""


def planted(keypoints: int = 6) -> tuple[np.ndarray, np.ndarray]:
    regressors, scores = np.zeros((1, 896, 4 + 2 * keypoints)), np.full((1, 896, 1), -20.0)
    regressors[0, ROW, :4] = CENTRE_X - 56, CENTRE_Y - 24, BOX_WIDTH, BOX_HEIGHT
    scores[0, ROW] = 0
    return regressors, scores


def assert_face(graph, *values):
    assert BlazeFace().matches(graph)
    result = BlazeFace().decode(head_of(graph, *values), LIMITS)
    np.testing.assert_allclose(result.detections.boxes, [BOX], atol=0.01)
    np.testing.assert_allclose(result.detections.scores, [0.5], atol=1e-5)
    np.testing.assert_array_equal(result.detections.class_ids, [0])
    assert len(result.candidates) == 1


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, 895, 16), (1, 895, 1), **SQUARE),
        graph_of((1, 896, 16), (1, 896, 1)),  # of another input size
        graph_of((1, 896, 16), (1, 896, 2), **SQUARE),  # two classes
        graph_of((1, 896, 4), (1, 896, 1), **SQUARE),  # no keypoints
        graph_of((1, 896, 16), (1, 512, 1), **SQUARE),
        graph_of((1, 896, 16), **SQUARE),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not BlazeFace().matches(graph)


@pytest.mark.parametrize("keypoints", [1, 6, 7])
def test_finds_the_face(keypoints):
    regressors, scores = planted(keypoints)
    assert_face(graph_of(regressors.shape, scores.shape, **SQUARE), regressors, scores)
    assert_face(graph_of(scores.shape, regressors.shape, **SQUARE), scores, regressors)


def test_outputs_split_by_stride_in_any_order():
    regressors, scores = planted()
    parts = [regressors[:, 512:], scores[:, 512:], scores[:, :512], regressors[:, :512]]
    assert_face(graph_of(*(part.shape for part in parts), **SQUARE), *parts)


def test_probabilities_are_not_passed_through_the_sigmoid():
    regressors, scores = planted()
    scores[:] = 0
    scores[0, ROW] = 0.5
    assert_face(graph_of(regressors.shape, scores.shape, ends=("CONV_2D", "LOGISTIC"), **SQUARE), regressors, scores)


@pytest.mark.parametrize(
    ("side", "count", "index", "centre"),
    [
        (128, 896, 2, (12, 4)),  # the second cell
        (256, 896, 512, (16, 16)),  # back: the first of stride 32
        (192, 2304, 49, (6, 6)),  # full range: second row
        (192, 2016, 1151, (188, 188)),  # palm: the last of stride 8
        (224, 2254, 1568 + 392, (16, 16)),  # pose: the first of stride 32
        (256, 2944, 2048, (8, 8)),  # the first palm: the first of stride 16
    ],
)
def test_anchors_of_the_known_detectors(side, count, index, centre):
    graph = graph_of((1, count, 16), (1, count, 1), size=(side, side))
    assert anchors(graph, count).shape == (count, 2)
    np.testing.assert_allclose(anchors(graph, count)[index], centre)
