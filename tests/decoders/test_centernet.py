"""CenterNet at 96 x 64: 24 x 16 cells of stride 4. BOX has its centre at 46, 22: row 5, column 11, offset .5 and .5."""

import itertools

import numpy as np
import pytest

from qviz.decoders.centernet import CenterNet
from tests.decoders.heads import BOX, CLASS, LIMITS, assert_planted, graph_of, head_of

SHAPES = ((1, 16, 24, 3), (1, 16, 24, 2), (1, 16, 24, 2))


def planted() -> list[np.ndarray]:
    heatmap, sizes, offsets = (np.zeros(shape) for shape in SHAPES)
    heatmap[0, 5, 11, CLASS] = 0.8
    heatmap[0, 5, 12, CLASS] = 0.7  # next to the same peak
    sizes[0, 5, 11] = 32 / 4, 24 / 4
    offsets[0, 5, 11] = 46 / 4 - 11, 22 / 4 - 5
    return [heatmap, sizes, offsets]


def decode(arrays, names=()):
    graph = graph_of(*(array.shape for array in arrays), names=names)
    assert CenterNet().matches(graph)
    return CenterNet().decode(head_of(graph, *arrays), LIMITS)


@pytest.mark.parametrize(
    "graph",
    [
        graph_of(*SHAPES[:2]),
        graph_of(SHAPES[0], (1, 16, 24, 2), (1, 16, 24, 1)),
        graph_of((1, 15, 24, 3), *SHAPES[1:]),
        graph_of((1, 16, 24, 3), (1, 8, 12, 2), (1, 8, 12, 2)),
        graph_of(*[(1, 16, 24, 2)] * 3),  # two classes without distinguishing names
    ],
)
def test_other_heads_do_not_match(graph):
    assert not CenterNet().matches(graph)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_only_the_local_maximum_is_a_detection(order):
    assert CenterNet().class_count(graph_of(*(SHAPES[i] for i in order))) == 3
    arrays = planted()
    result = decode([arrays[i] for i in order])
    assert_planted(result, 0.8, candidates=2)


def test_channels_first_layout():
    assert_planted(decode([array.transpose(0, 3, 1, 2) for array in planted()], ("hm", "wh", "reg")), 0.8, candidates=2)


def test_names_take_precedence_over_values():
    """Sizes below one cell, and an offset that is larger."""
    heatmap, sizes, offsets = planted()
    sizes[0, 5, 11] = 0.25, 0.25
    result = decode([heatmap, offsets, sizes], ("hm", "reg", "wh"))
    assert_planted(result, 0.8, (45.5, 21.5, 46.5, 22.5), candidates=2)


def test_two_classes_are_distinguished_from_sizes_by_name():
    """All three have two columns; the planted class is the second then."""
    heatmap, sizes, offsets = planted()
    result = decode([sizes, offsets, heatmap[..., 1:]], ("wh", "reg", "hm"))
    np.testing.assert_array_equal(result.detections.class_ids, [CLASS - 1])
    np.testing.assert_allclose(result.detections.boxes, [BOX], atol=0.01)


def test_logits_go_through_the_sigmoid():
    heatmap, sizes, offsets = planted()
    heatmap[:] = -9
    heatmap[0, 5, 11, CLASS] = 0
    assert_planted(decode([heatmap, sizes, offsets]), 0.5)
