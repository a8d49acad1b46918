"""Sets of boxes without NMS, FastestDet's cells, and FOMO's centres."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qviz.decoders import DECODERS, Limits, fitting
from tests.decoders.heads import (
    BOX,
    BOX_HEIGHT,
    BOX_WIDTH,
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

QUERIES = 20


def logit(value: float) -> float:
    return math.log(value / (1 - value))


def boxes(corners: bool = False) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.1, 0.4, (1, QUERIES, 4))
    if corners:
        values[..., 2:] += values[..., :2]
    x, y, w, h = CENTRE_X / WIDTH, CENTRE_Y / HEIGHT, BOX_WIDTH / WIDTH, BOX_HEIGHT / HEIGHT
    values[0, 3] = np.array(BOX) / (WIDTH, HEIGHT, WIDTH, HEIGHT) if corners else (x, y, w, h)
    return values


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_a_set_with_sigmoids(corners: bool, swapped: bool) -> None:
    logits = np.full((1, QUERIES, 5), -6.0)
    logits[0, 3, CLASS] = logit(0.8)
    arrays = (boxes(corners), logits)[:: -1 if swapped else 1]
    graph = graph_of(*(array.shape for array in arrays))
    assert fitting(graph) == ("box_set",)
    assert_planted(DECODERS["box_set"].decode(head_of(graph, *arrays), LIMITS), 0.8)


def test_a_set_with_no_object_as_its_last_class() -> None:
    logits = np.zeros((1, QUERIES, 92))
    logits[..., -1] = 20.0
    logits[0, 3] = 0.0
    logits[0, 3, CLASS + 1] = math.log(0.8 / 0.2 * 91)  # ids count from 1
    graph = graph_of((1, QUERIES, 4), (1, QUERIES, 92))
    assert DECODERS["box_set"].class_count(graph) == 90
    assert_planted(DECODERS["box_set"].decode(head_of(graph, boxes(), logits), LIMITS), 0.8)


def test_overlapping_boxes_of_a_set_all_count() -> None:
    logits = np.full((1, QUERIES, 5), 2.0)
    graph = graph_of((1, QUERIES, 4), (1, QUERIES, 5))
    result = DECODERS["box_set"].decode(head_of(graph, np.full((1, QUERIES, 4), 0.5), logits), LIMITS)
    assert len(result.detections) == 100


def test_sets_only_where_nothing_else_matches() -> None:
    assert fitting(graph_of((1, 126, 4), (1, 126, 80))) == ("boxes_and_scores",)
    assert fitting(graph_of((1, 129 * 6, 4), (1, 129 * 6, 90))) == ("retinanet",)


@pytest.mark.parametrize("first", [True, False])
def test_fastestdet(first: bool) -> None:
    values = np.zeros((4, 6, 8))
    tx, ty = CENTRE_X / 16 - 2, CENTRE_Y / 16 - 1  # the cell (1, 2)
    sizes = logit(BOX_WIDTH / WIDTH), logit(BOX_HEIGHT / HEIGHT)
    values[1, 2] = [0.9, math.atanh(tx), math.atanh(ty), *sizes, 0, 0, 0.7]
    array = values.transpose(2, 0, 1)[None] if first else values[None]
    graph = graph_of(array.shape)
    assert fitting(graph) == ("fastestdet",)
    result = DECODERS["fastestdet"].decode(head_of(graph, array), LIMITS)
    assert_planted(result, 0.9**0.6 * 0.7**0.4)


def test_fomo_shows_each_centre_once_as_one_cell() -> None:
    graph = graph_of((1, 8, 12, 4), ends=("SOFTMAX",))
    assert fitting(graph) == ("fomo",)
    values = np.zeros((1, 8, 12, 4))
    values[..., 0] = 1
    values[0, 2, 5] = 0.2, 0, 0, 0.8
    values[0, 2, 6] = 0.4, 0, 0, 0.6  # the same object
    values[0, 6, 1] = 0.3, 0.7, 0, 0
    values[0, 6, 2] = 0.3, 0.7, 0, 0  # as strong: one of them counts
    result = DECODERS["fomo"].decode(head_of(graph, values), Limits(0.25, 0.6, 100)).detections
    np.testing.assert_allclose(result.boxes, [[40, 16, 48, 24], [8, 48, 16, 56]])
    assert result.class_ids.tolist() == [2, 0]
    assert "finds centres, not sizes" in DECODERS["fomo"].note
