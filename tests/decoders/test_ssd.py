"""Three anchors by hand, and the zoo's 1917 against those inside a real file."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qviz.decoders import Decoded, Limits
from qviz.decoders.post_process import KIND
from qviz.decoders.scores import candidates_of
from qviz.decoders.ssd import RawSSD, decode_boxes, mobilenet_anchors
from qviz.structures import Graph
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.graphs import graph, head, image_tensor, op, tensor

ANCHORS = np.array([[0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0.2, 0.4], [0.8, 0.8, 0.2, 0.2]], np.float32)  # cy, cx, h, w
CORNERS = np.array([[20, 10, 60, 30], [60, 40, 140, 60], [140, 70, 180, 90]])  # corners in 200 x 100
LIMITS = Limits(0.25, 0.6, 100)
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.6], [0.1, 0.0]], np.float32)
LOGITS = np.log(np.maximum(PROBABILITIES, 1e-9) / (1 - PROBABILITIES))


def raw(columns: int, anchors: str = "output", ends: str | None = None, count: int = 3, first: str = "boxes") -> Graph:
    """Encodings 1, scores 2, anchors 3 (an output or a constant); `ends`: the operator that makes the scores."""
    tensors = [
        image_tensor(),
        tensor(1, "box_encodings", (1, count, 4)),
        tensor(2, "class_scores", (1, count, columns)),
        tensor(3, "anchors", (count, 4), constant=anchors == "constant"),
        tensor(4, "before", (1, count, columns)),
    ]
    outputs = [1, 2] if first == "boxes" else [2, 1]
    ops = [op(ends, [0], [4]), op("RESHAPE", [4, None], [2])] if ends else [op("RESHAPE", [4], [2])]
    return graph(tensors, [*outputs, 3] if anchors == "output" else outputs, ops)


def decode(of: Graph, scores: np.ndarray, limits: Limits = LIMITS, encodings: object = 0.0) -> Decoded:
    """With anchors in the head's values where the graph has them."""
    assert RawSSD().matches(of)
    count = scores.shape[-2]
    values = {1: np.broadcast_to(np.asarray(encodings, np.float32), (1, count, 4)), 2: scores[None]}
    if count == 3:
        values[3] = ANCHORS
    return RawSSD().decode(head(of, values), limits)


@pytest.mark.parametrize("first", ["boxes", "scores"])
@pytest.mark.parametrize("anchors", ["output", "constant"])
@pytest.mark.parametrize(
    ("ends", "scores"),
    [("LOGISTIC", PROBABILITIES), ("SOFTMAX", PROBABILITIES), ("CONV_2D", LOGITS), (None, LOGITS)],
)
def test_boxes_scores_and_classes(first: str, anchors: str, ends: str | None, scores: np.ndarray) -> None:
    of = raw(2, anchors, ends, first=first)
    assert RawSSD().reads(of) == (3,)
    result = decode(of, scores).detections
    assert result.class_ids.tolist() == [0, 1]
    assert result.scores == pytest.approx([0.9, 0.6])
    assert result.boxes == pytest.approx(CORNERS[:2], abs=1e-4)


@pytest.mark.parametrize(("columns", "classes"), [(91, 90), (81, 80), (21, 20), (90, 90), (20, 20), (2, 2)])
def test_the_background_column_is_recognized_by_the_number_of_classes(columns: int, classes: int) -> None:
    scores = np.zeros((3, columns), np.float32)
    scores[0, 0], scores[1, columns - 1] = 0.9, 0.8
    of = raw(columns, ends="LOGISTIC")
    assert RawSSD().class_count(of) == classes
    expected = [classes - 1] if columns > classes else [0, classes - 1]
    assert decode(of, scores).detections.class_ids.tolist() == expected


def test_generated_anchors_are_used_only_for_model_zoo_heads() -> None:
    assert not RawSSD().matches(raw(2, anchors="none"))
    assert RawSSD().matches(raw(2, anchors="none", count=1917))
    scores = np.zeros((1917, 2), np.float32)
    scores[1916, 1] = 0.7
    (box,) = decode(raw(2, "none", "LOGISTIC", count=1917), scores).detections.boxes
    cy, cx, h, w = mobilenet_anchors()[1916]
    assert box == pytest.approx([200 * (cx - w / 2), 100 * (cy - h / 2), 200 * (cx + w / 2), 100 * (cy + h / 2)])


def test_generated_anchors_equal_those_of_a_real_file(sample: Sample) -> None:
    path = sample.models["float32"]
    (post_process,) = [op for op in read_graph(path.read_bytes()).ops if op.kind == KIND]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    inside = interpreter.get_tensor(post_process.inputs[2])
    assert inside.shape == (1917, 4)
    assert mobilenet_anchors() == pytest.approx(inside, abs=1e-5)


def test_candidates_stay_when_the_threshold_is_high_or_low() -> None:
    scores = np.array([[0.9, 0.01], [0.2, 0.06], [0.04, 0.0]], np.float32)
    for score, detections in ((0.95, 0), (0.25, 1), (0.005, 5)):
        result = decode(raw(2, ends="LOGISTIC"), scores, Limits(score, 0.6, 100))
        assert result.candidates is not None
        assert result.candidates.scores == pytest.approx([0.9, 0.2, 0.06])  # from CANDIDATE_FLOOR
        assert len(result.detections) == detections


def test_nms_and_the_number_of_detections() -> None:
    scores = np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0]], np.float32)
    onto_one = np.array([[0, 0, 0, 0], [-15, -7.5, 0, 5 * np.log(0.5)], [0, 0, 0, 0]])  # the second onto the first
    of = raw(2, ends="LOGISTIC")
    assert decode(of, scores, LIMITS, onto_one[None]).detections.scores == pytest.approx([0.9, 0.7])
    assert decode(of, scores, Limits(0.25, 1.0, 2), onto_one[None]).detections.scores == pytest.approx([0.9, 0.8])


CODED = [
    # ty, tx, th, tw of an anchor at the middle, .2 high and .4 wide -> corners in 200 x 100
    ((0, 0, 0, 0), (60, 40, 140, 60)),
    ((5, 0, 0, 0), (60, 50, 140, 70)),
    ((0, 5, 0, 0), (100, 40, 180, 60)),
    ((0, 0, 5 * np.log(2), 0), (60, 30, 140, 70)),
    ((0, 0, 0, 5 * np.log(2)), (20, 40, 180, 60)),
]


@pytest.mark.parametrize(("encoding", "expected"), CODED)
def test_the_box_coder(encoding: tuple[float, ...], expected: tuple[float, ...]) -> None:
    result = decode_boxes(np.array([encoding], np.float32), ANCHORS[1:2], (200, 100))
    assert result[0] == pytest.approx(expected, abs=1e-4)


def test_a_broken_head_gives_finite_boxes() -> None:
    assert np.isfinite(decode_boxes(np.full((1, 4), 1e9, np.float32), ANCHORS[:1], (200, 100))).all()


def test_a_candidate_is_an_anchor_and_a_class() -> None:
    result = candidates_of(CORNERS, np.array([[0.05, 0.7], [0.049, 0.0], [0.3, 0.3]]))
    assert list(zip(result.class_ids.tolist(), result.boxes[:, 0].tolist(), strict=True)) == [
        (1, 20),
        (0, 140),
        (1, 140),
        (0, 20),
    ]


def shaped(*shapes: tuple[int, ...], names: tuple[str, ...] = ("a", "b", "c")) -> Graph:
    tensors = [tensor(i, names[i - 1], shape) for i, shape in enumerate(shapes, start=1)]
    return graph([image_tensor(), *tensors], [t.index for t in tensors])


OTHERS = [
    ((1, 1917, 4), (1, 1917, 1)),  # one column of scores could be anything
    ((1, 1917, 4), (1, 1916, 5)),
    ((1, 1917, 5), (1, 1917, 5)),
    ((1, 1917, 4), (1, 1917, 4)),  # two tensors of four columns without distinguishing names
    ((1, 25200, 4), (1, 25200, 80)),  # no known anchor grid has this number
    ((1, 1917, 4),),
]


@pytest.mark.parametrize("shapes", OTHERS)
def test_other_heads_do_not_match(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert not RawSSD().matches(shaped(*shapes))


def test_four_classes_are_distinguished_from_boxes_by_name() -> None:
    of = shaped((1, 1917, 4), (1, 1917, 4), names=("Squeeze/scores", "raw/box_encodings"))
    assert RawSSD().matches(of)
    scores = np.full((1917, 4), -60.0)
    scores[5, 2] = 3.0
    result = RawSSD().decode(head(of, {1: scores[None], 2: np.zeros((1, 1917, 4))}), LIMITS).detections
    assert result.class_ids.tolist() == [2]
