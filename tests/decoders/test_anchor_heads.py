"""EfficientDet and RetinaNet. At 96 x 64 the five levels have 96 + 24 + 6 + 2 + 1 = 129 cells."""

import math

import numpy as np
import pytest

from qviz.decoders.anchor_heads import EFFICIENTDET, EFFICIENTDET_LITE, RETINANET, STRIDES, anchors_of
from qviz.decoders.grid import levels_of
from tests.decoders.heads import (
    BOX,
    BOX_HEIGHT,
    BOX_WIDTH,
    CENTRE_X,
    CENTRE_Y,
    CLASS,
    LIMITS,
    assert_planted,
    graph_of,
    head_of,
)

SIZES = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
CELL_16 = 96 + 1 * 6 + 2
"""Row 1, column 2 of stride 16: its middle at 40, 24."""


def encoding(height: float, width: float, scales=(1, 1, 1, 1)) -> list[float]:
    """The encoding of BOX against an anchor with these sides in pixels, centred on CELL_16."""
    return [
        (CENTRE_Y - 24) / height * scales[0],
        (CENTRE_X - 40) / width * scales[1],
        math.log(BOX_HEIGHT / height) * scales[2],
        math.log(BOX_WIDTH / width) * scales[3],
    ]


def planted(per_cell: int, anchor: int, code: list[float], logits: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(scores, encodings) on end, (1, n, 3) and (1, n, 4)."""
    scores = np.full((1, 129 * per_cell, 3), -9.0) if logits else np.zeros((1, 129 * per_cell, 3))
    boxes = np.zeros((1, 129 * per_cell, 4))
    scores[0, CELL_16 * per_cell + anchor, CLASS] = 0 if logits else 0.5
    boxes[0, CELL_16 * per_cell + anchor] = code
    return scores, boxes


def efficientdet(logits: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Anchor 4 is octave 1/3 with ratio 2: wide, of 4 strides of 16 pixels."""
    side = 4 * 16 * 2 ** (1 / 3)
    return planted(9, 4, encoding(side / math.sqrt(2), side * math.sqrt(2)), logits)


def split(values: np.ndarray) -> list[np.ndarray]:
    """One (1, h, w, a * c) array per level."""
    parts, start = [], 0
    for rows, columns in SIZES:
        count = rows * columns * values.shape[1] // 129
        parts.append(values[:, start : start + count].reshape(1, rows, columns, -1))
        start += count
    return parts


def decode(decoder, *arrays, names=(), ends=(), size=(96, 64)):
    graph = graph_of(*(array.shape for array in arrays), names=names, ends=ends, size=size)
    assert decoder.matches(graph)
    assert decoder.class_count(graph) == 3
    return decoder.decode(head_of(graph, *arrays), LIMITS)


@pytest.mark.parametrize(
    "graph",
    [
        graph_of((1, 129 * 9, 5), (1, 129 * 9, 3)),  # no encodings
        graph_of((1, 129 * 6, 4), (1, 129 * 6, 3)),  # RetinaNet's
        graph_of((1, 129 * 9, 4), (1, 129 * 6, 3)),
        graph_of((1, 1917, 4), (1, 1917, 91)),  # SSD's
        graph_of((1, 129 * 9, 4), (1, 129 * 9, 4)),  # four classes without distinguishing names
        graph_of((1, 129 * 9, 7)),
    ],
)
def test_other_heads_do_not_match(graph):
    assert not EFFICIENTDET.matches(graph)


def test_efficientdet_lite_needs_its_own_input_sizes():
    assert not EFFICIENTDET_LITE.matches(graph_of((1, 129 * 9, 4), (1, 129 * 9, 3)))


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_efficientdet_in_either_order(swapped, logits):
    scores, boxes = efficientdet(logits)
    assert_planted(decode(EFFICIENTDET, *((boxes, scores) if swapped else (scores, boxes))), 0.5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("nchw", [True, False])
def test_one_pair_per_level_in_any_order(nchw, seed):
    scores, boxes = efficientdet()
    arrays = [a.transpose(0, 3, 1, 2) if nchw else a for a in split(scores) + split(boxes)]
    np.random.default_rng(seed).shuffle(arrays)
    assert_planted(decode(EFFICIENTDET, *arrays), 0.5)


def test_four_classes_are_distinguished_from_boxes_by_name():
    scores, boxes = efficientdet()
    scores = np.pad(scores, ((0, 0), (0, 0), (0, 1)), constant_values=-9)
    graph = graph_of(scores.shape, boxes.shape, names=("class_net", "box_net"))
    assert EFFICIENTDET.matches(graph)
    assert_planted(EFFICIENTDET.decode(head_of(graph, scores, boxes), LIMITS), 0.5)


def test_the_background_column_of_91_is_left_out():
    scores, boxes = efficientdet()
    wide = np.full((1, scores.shape[1], 91), -9.0)
    wide[0, :, 1:4] = scores
    graph = graph_of(wide.shape, boxes.shape)
    assert EFFICIENTDET.class_count(graph) == 90
    assert_planted(EFFICIENTDET.decode(head_of(graph, wide, boxes), LIMITS), 0.5)


def test_retinanet_anchor_order_and_encoding_scale():
    """Anchor 5 is the third ratio (tall) with the second octave; encodings are scaled."""
    side = 4 * 16 * math.sqrt(2)
    code = encoding(side * math.sqrt(2), side / math.sqrt(2), (10, 10, 5, 5))
    assert_planted(decode(RETINANET, *planted(6, 5, code)), 0.5)


def test_retinanet_anchors_start_at_corners_if_the_stride_does_not_divide_the_input():
    anchors = anchors_of(RETINANET, levels_of(graph_of(size=(96, 64)), STRIDES), 96, 64) * [64, 96, 64, 96]
    level_64 = anchors[126 * 6 :]  # 64 divides the height, not the width
    np.testing.assert_allclose(level_64[[0, 6], :2], [(32, 0), (32, 64)])


def test_lite_has_smaller_anchors_and_fractional_strides():
    """At 320 the last level has 3 cells of 106.7 pixels."""
    levels = levels_of(graph_of(size=(320, 320)), STRIDES)
    anchors = anchors_of(EFFICIENTDET_LITE, levels, 320, 320) * 320
    np.testing.assert_allclose(anchors[0], [4, 4, 24, 24], rtol=1e-5)
    np.testing.assert_allclose(anchors[-9], [320 - 53.33, 320 - 53.33, 320, 320], rtol=1e-3)


def test_encoded_box_decodes_to_the_planted_box():
    """The other tests rely on this encoding."""
    assert BOX == (
        CENTRE_X - BOX_WIDTH / 2,
        CENTRE_Y - BOX_HEIGHT / 2,
        CENTRE_X + BOX_WIDTH / 2,
        CENTRE_Y + BOX_HEIGHT / 2,
    )
