"""The four tensors in every order, identified in every way. The image is 200 x 100, so swapped x and y would show."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest

from qviz.decoders import Decoded, Limits
from qviz.decoders.post_process import KIND, PostProcess
from qviz.structures import Graph
from qviz.structures.detections import class_ids_of
from tests.graphs import graph, head, image_tensor, op, tensor

NAMES = ("boxes", "classes", "scores", "count")
VALUES = {
    "boxes": [[[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0], [0.3, 0.3, 0.4, 0.4]]],  # ymin, xmin, ymax, xmax
    "classes": [[16.0, 0.0, 5.0]],
    "scores": [[0.5, 0.9, 0.7]],
    "count": [2.0],  # so the third row is garbage
}
WITHOUT_COUNT = {**VALUES, "scores": [[0.5, 0.9, 0.0]]}
SHAPES = {"boxes": (1, 3, 4), "classes": (1, 3), "scores": (1, 3), "count": (1,)}
LIMITS = Limits(0.25, 0.6, 100)
ORDERS = [*permutations(NAMES), *permutations(NAMES[:3])]


def outputs(order: Sequence[str], names: Sequence[str] | None = None, signature: bool = False) -> Graph:
    """A file without the operator; nameless unless names are given."""
    texts = names or [f"StatefulPartitionedCall:{i}" for i in range(len(order))]
    tensors = [tensor(i, texts[i - 1], SHAPES[name]) for i, name in enumerate(order, start=1)]
    signed = {f"detection_{name}": t.index for name, t in zip(order, tensors, strict=True)} if signature else None
    return graph([image_tensor(), *tensors], [t.index for t in tensors], signature=signed)


def decode(of: Graph, order: Sequence[str], values: dict[str, list], limits: Limits = LIMITS) -> Decoded:
    assert PostProcess().matches(of)
    return PostProcess().decode(head(of, dict(zip(of.outputs, (values[name] for name in order), strict=True))), limits)


def unnamed(order: Sequence[str]) -> Graph:
    return outputs(order)


def named(order: Sequence[str]) -> Graph:
    return outputs(order, [f"TFLite_Detection/{name}" for name in order])


def with_signature(order: Sequence[str]) -> Graph:
    return outputs(order, signature=True)


def with_operator(order: Sequence[str]) -> Graph:
    """The operator writes in its own order and its outputs have no shape; the file lists them in another."""
    written = [tensor(i, shape=()) for i in range(1, len(order) + 1)]
    index = {name: i for i, name in enumerate([n for n in NAMES if n in order], start=1)}
    ops = [op(KIND, [0, 0, 0], [t.index for t in written])]
    return graph([image_tensor(), *written], [index[name] for name in order], ops)


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
@pytest.mark.parametrize("graph_of", [unnamed, named, with_signature, with_operator])
def test_every_order(graph_of, order: Sequence[str]) -> None:
    detections = decode(graph_of(order), order, VALUES if "count" in order else WITHOUT_COUNT).detections
    assert detections.class_ids.tolist() == [0, 16]  # by descending score
    assert detections.scores == pytest.approx([0.9, 0.5])
    assert detections.boxes == pytest.approx(np.array([[0, 0, 200, 100], [40, 10, 120, 50]]))


def test_names_take_precedence_over_values() -> None:
    """One class only, and scores that are whole: the values alone would tell them the wrong way round."""
    order = ("boxes", "classes", "scores")
    values = {**VALUES, "classes": [[0.0, 0.0, 0.0]], "scores": [[1.0, 1.0, 0.0]]}
    assert decode(named(order), order, values).detections.class_ids.tolist() == [0, 0]


BY_VALUE = [
    # classes, scores, expected class ids
    ([0, 0, 0], [0.9, 0.8, 0.7], [0, 0, 0]),  # a detector of one class
    ([17, 0, 0], [1, 0, 0], [17]),  # a score of exactly 1
    ([1, 1, 0], [0.99, 0.98, 0.3], [1, 1, 0]),
    ([0, 0, 0], [0, 0, 0], []),  # no detections
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("classes", "scores", "expected"), BY_VALUE)
def test_classes_are_whole_numbers(classes: list, scores: list, expected: list[int], turned: bool) -> None:
    order = ("scores", "classes", "boxes") if turned else ("boxes", "classes", "scores")
    values = {**VALUES, "classes": [classes], "scores": [scores]}
    assert decode(outputs(order), order, values).detections.class_ids.tolist() == expected


def test_a_conversion_behind_the_operator_is_followed() -> None:
    """litert-quantizer's static recipes quantize the operator's outputs too."""
    tensors = [image_tensor(), *(tensor(i, shape=()) for i in range(1, 9))]
    ops = [op(KIND, [0, 0, 0], [1, 2, 3, 4]), *(op("QUANTIZE", [i], [i + 4]) for i in range(1, 5))]
    order = ("count", "scores", "classes", "boxes")
    detections = decode(graph(tensors, [8, 7, 6, 5], ops), order, VALUES).detections
    assert detections.class_ids.tolist() == [0, 16]


def test_class_offset_removes_the_background() -> None:
    values = {**VALUES, "classes": [[17.0, 0.0, 5.0]]}  # the best object is background
    detections = decode(outputs(NAMES), NAMES, values, Limits(0.25, 0.6, 100, class_offset=1)).detections
    assert detections.class_ids.tolist() == [16]


def test_limits() -> None:
    assert decode(outputs(NAMES), NAMES, VALUES, Limits(0.6, 0.6, 100)).detections.class_ids.tolist() == [0]
    assert decode(outputs(NAMES), NAMES, VALUES, Limits(0.0, 0.6, 1)).detections.class_ids.tolist() == [0]
    assert len(decode(outputs(NAMES[:3]), NAMES[:3], WITHOUT_COUNT, Limits(0.0, 0.6, 9)).detections) == 2  # no 0 row


def test_scores_above_one_are_clipped() -> None:
    values = {**VALUES, "scores": [[0.5, 1.3, 0.0]]}
    assert decode(named(NAMES), NAMES, values).detections.scores.tolist() == [1.0, 0.5]


OTHERS = [
    [(1, 3, 4), (1, 3)],  # no second row
    [(1, 3, 4), (1, 3), (1, 3), (1, 3)],
    [(1, 3, 4), (1, 3), (1, 2)],
    [(1, 3, 4), (1, 3), (1, 3), (2,)],  # no count
    [(1, 3, 4), (1, 3, 4), (1, 3), (1, 3)],
    [(1, 3, 5), (1, 3), (1, 3)],
    [(2, 3, 4), (1, 3), (1, 3)],
]


@pytest.mark.parametrize("shapes", OTHERS)
def test_other_heads_do_not_match(shapes: list[tuple[int, ...]]) -> None:
    tensors = [tensor(i, shape=shape) for i, shape in enumerate(shapes, start=1)]
    assert not PostProcess().matches(graph([image_tensor(), *tensors], [t.index for t in tensors]))


def with_head(classes: int, **options: float) -> Graph:
    """Two anchors before the operator."""
    before = [tensor(1, shape=(1, 2, 4)), tensor(2, shape=(1, 2, classes)), tensor(3, shape=(2, 4), constant=True)]
    after = [tensor(i, shape=()) for i in range(4, 8)]
    ops = [op(KIND, [1, 2, 3], [4, 5, 6, 7], num_classes=2, **options)]
    return graph([image_tensor(), *before, *after], [4, 5, 6, 7], ops)


HEAD = {
    1: [[[0, 0, 0, 0], [5, 0, 0, 5 * np.log(2)]]],  # the second: half its height lower, twice as wide
    3: [[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]],  # cy, cx, h, w
    **dict(zip(range(4, 8), VALUES.values(), strict=True)),
}


def test_candidates_are_read_before_the_operator() -> None:
    scores = [[[0.8, 0.01, 0.3], [0.9, 0.6, 0.04]]]  # background first
    of = with_head(3)
    assert (PostProcess().reads(of), PostProcess().class_count(of)) == ((1, 2, 3), 2)
    detections = PostProcess().decode(head(of, {**HEAD, 2: scores}), LIMITS).candidates
    assert detections is not None
    assert detections.class_ids.tolist() == [0, 1]
    assert detections.scores == pytest.approx([0.6, 0.3])
    assert detections.boxes == pytest.approx(np.array([[60, 50, 140, 70], [80, 40, 120, 60]]), abs=1e-4)


def test_candidates_without_background_and_with_other_scales() -> None:
    of = with_head(2, y_scale=5.0, x_scale=5.0, h_scale=2.5, w_scale=2.5)
    detections = PostProcess().decode(head(of, {**HEAD, 2: [[[0, 0.3], [0.6, 0]]]}), LIMITS).candidates
    assert detections is not None
    assert detections.class_ids.tolist() == [0, 1]
    assert detections.boxes[0] == pytest.approx([20, 60, 180, 80], abs=1e-4)  # twice the shift, four times as wide


def test_no_candidates_without_the_raw_head() -> None:
    assert PostProcess().decode(head(with_head(2), {i: HEAD[i] for i in range(4, 8)}), LIMITS).candidates is None


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e33, -2.0, 2.0**32])
def test_a_value_that_is_no_class_is_left_out(odd: float) -> None:
    """Converted to 32 bits as it is, it would be another class on each processor."""
    assert class_ids_of(np.array([3.0, odd], np.float32), 1).tolist() == [2, -1]
    values = {**VALUES, "classes": [[16.0, odd, 5.0]]}
    assert decode(named(NAMES), NAMES, values).detections.class_ids.tolist() == [16]


def test_a_negative_count_is_no_detection() -> None:
    assert len(decode(outputs(NAMES), NAMES, {**VALUES, "count": [-1.0]}).detections) == 0
