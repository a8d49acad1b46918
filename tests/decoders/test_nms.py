from __future__ import annotations

import numpy as np
import pytest

from qviz.decoders.scores import suppress
from qviz.structures import Detections


def slow_iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow(candidates: Detections, iou: float) -> list[int]:
    """Indices of the remaining boxes, by the textbook's loop."""
    boxes, survivors = candidates.boxes.astype(float).tolist(), []
    for i in sorted(range(len(candidates)), key=lambda i: -candidates.scores[i]):
        rivals = [k for k in survivors if candidates.class_ids[k] == candidates.class_ids[i]]
        if all(slow_iou(boxes[k], boxes[i]) <= iou for k in rivals):
            survivors.append(i)
    return survivors


def crowd(seed: int, count: int) -> Detections:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.integers(5, 60, (count, 2))], axis=1)
    return Detections.of(boxes, rng.permutation(count) / count, rng.integers(0, 4, count))


@pytest.mark.parametrize("iou", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_textbook_loop(seed: int, iou: float) -> None:
    candidates = crowd(seed, 120)
    expected = candidates[slow(candidates, iou)]
    survivors = suppress(candidates, iou, 1000)
    assert survivors.scores.tolist() == expected.scores.tolist()
    assert survivors.boxes.tolist() == expected.boxes.tolist()
    assert (len(survivors) < 120) == (iou < 1)


TABLE = [
    # boxes, scores, classes, IoU limit, remaining scores
    ([[0, 0, 10, 10], [0, 0, 10, 10]], [0.5, 0.75], [1, 1], 0.5, [0.75]),
    ([[0, 0, 10, 10], [0, 0, 10, 10]], [0.5, 0.75], [1, 2], 0.5, [0.75, 0.5]),  # another class
    ([[0, 0, 10, 10], [0, 5, 10, 15]], [0.75, 0.5], [1, 1], 1 / 3 + 1e-6, [0.75, 0.5]),
    ([[0, 0, 10, 10], [0, 5, 10, 15]], [0.75, 0.5], [1, 1], 1 / 3 - 1e-6, [0.75]),
    # a box that is suppressed suppresses nothing: the third is far enough from the first
    ([[0, 0, 10, 10], [0, 4, 10, 14], [0, 8, 10, 18]], [0.75, 0.5, 0.25], [1, 1, 1], 0.3, [0.75, 0.25]),
    ([], [], [], 0.5, []),
]


@pytest.mark.parametrize(("boxes", "scores", "classes", "iou", "expected"), TABLE)
def test_examples_computed_by_hand(
    boxes: list, scores: list[float], classes: list[int], iou: float, expected: list[float]
) -> None:
    assert suppress(Detections.of(boxes, scores, classes), iou, 100).scores.tolist() == expected


def test_only_the_best_detections_remain_above_the_limit() -> None:
    candidates = crowd(0, 50)
    assert suppress(candidates, 1.0, 3).scores.tolist() == sorted(candidates.scores.tolist(), reverse=True)[:3]


def test_with_a_limit_the_first_of_all_survivors_remain() -> None:
    candidates = crowd(1, 120)
    limited = suppress(candidates, 0.3, 7)
    assert limited.scores.tolist() == candidates[slow(candidates, 0.3)[:7]].scores.tolist()
