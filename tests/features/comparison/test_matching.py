from __future__ import annotations

import itertools

import numpy as np
import pytest

from qviz.features.comparison.matching import agreement_of, match_detections, softly_agreed
from qviz.structures import Detections
from qviz.structures.boxes import iou_matrix


def row(*objects: tuple[float, int]) -> Detections:
    """Boxes 10 x 10 on one line: (left edge, class)."""
    boxes = [[left, 0, left + 10, 10] for left, _ in objects]
    return Detections.of(boxes, [0.9] * len(objects), [class_id for _, class_id in objects])


TABLE = [
    # reference, candidate, pairs: an offset of 2 is IoU .67, of 3 .54, of 4 .43
    (row(), row(), []),
    (row((0, 1)), row(), []),
    (row((0, 1)), row((0, 1)), [(0, 0)]),
    (row((0, 1)), row((3, 1)), [(0, 0)]),
    (row((0, 1)), row((4, 1)), []),
    (row((0, 1)), row((0, 2)), [(0, 0)]),  # a box of another class can be a partner
    (row((0, 1)), row((0, 2), (3, 1)), [(0, 1)]),  # but only after the same class, even with a higher IoU
    (row((0, 1)), row((0, 2), (4, 1)), [(0, 0)]),  # the box of the same class overlaps too little
    (row((0, 1), (0, 2)), row((0, 2), (0, 1)), [(0, 1), (1, 0)]),
    (row((0, 1), (2, 1)), row((1, 1)), [(0, 0)]),  # one to one
    (row((0, 1)), row((1, 1), (-1, 1), (0, 1)), [(0, 2)]),
    # greedy would give 1 its best, 0, and leave 0 alone: 0 reaches only 0, 1 reaches both
    (row((0, 1), (2, 1)), row((2, 1), (5, 1)), [(0, 0), (1, 1)]),
    # other classes are matched among the remaining boxes only
    (row((0, 1), (0, 2)), row((0, 1)), [(0, 0)]),
]


@pytest.mark.parametrize(("reference", "candidate", "pairs"), TABLE)
def test_pairs(reference: Detections, candidate: Detections, pairs: list[tuple[int, int]]) -> None:
    matches = match_detections(reference, candidate)
    assert [tuple(pair) for pair in matches.pairs.tolist()] == pairs
    assert matches.only_reference.tolist() == [i for i in range(len(reference)) if i not in [p[0] for p in pairs]]
    assert matches.only_variant.tolist() == [j for j in range(len(candidate)) if j not in [p[1] for p in pairs]]
    overlaps = iou_matrix(reference.boxes, candidate.boxes)
    assert matches.ious.tolist() == [overlaps[pair] for pair in pairs]


def best_sum(overlaps: np.ndarray, iou: float) -> float:
    """The largest sum of IoU over all assignments, by exhaustive search."""
    gains = np.where(overlaps >= iou, overlaps, 0)
    wide = gains if gains.shape[0] <= gains.shape[1] else gains.T
    columns = itertools.permutations(range(wide.shape[1]), wide.shape[0])
    return max(sum(wide[i, j] for i, j in enumerate(order)) for order in columns)


@pytest.mark.parametrize("seed", range(20))
def test_matching_maximizes_the_sum_of_overlaps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (row(*((left, 1) for left in rng.uniform(0, 12, count))) for count in rng.integers(2, 6, 2))
    matches = match_detections(first, second, iou=0.3)
    assert matches.ious.sum() == pytest.approx(best_sum(iou_matrix(first.boxes, second.boxes), 0.3), abs=1e-5)
    assert (matches.ious >= 0.3).all()
    assert len(set(matches.pairs[:, 0])) == len(set(matches.pairs[:, 1])) == len(matches.pairs)


@pytest.mark.parametrize("iou", [0, -0.5, 50, float("nan")])
def test_a_threshold_outside_the_range(iou: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        match_detections(row(), row(), iou)


def test_a_threshold_of_one_matches_only_equal_boxes() -> None:
    assert len(match_detections(row((0, 1), (20, 1)), row((0, 1), (20.1, 1)), 1.0).pairs) == 1


def objects(*rows: tuple[float, float, int]) -> Detections:
    """Boxes 10 x 10 on one line: (left edge, score, class)."""
    boxes = [[left, 0, left + 10, 10] for left, _, _ in rows]
    return Detections.of(boxes, [score for _, score, _ in rows], [class_id for _, _, class_id in rows])


SOFT = [
    # reference, variant, agreement
    ([(0, 0.8, 1), (50, 0.4, 1)], [(0, 0.8, 1), (50, 0.4, 1)], 1.0),
    ([(0, 0.8, 1)], [(0, 0.6, 1)], 2 * 0.6 / 1.4),  # no threshold: each bit of score counts
    ([(0, 0.6, 1)], [(0, 0.8, 1)], 2 * 0.6 / 1.4),
    ([(0, 0.8, 1)], [(2, 0.8, 1)], 2 / 3),  # IoU .67
    ([(0, 0.8, 1)], [(0, 0.8, 2)], 0.0),
    ([(0, 0.8, 1), (50, 0.2, 1)], [(0, 0.8, 1)], 1.6 / 1.8),  # an object of low confidence costs little
    ([(0, 0.8, 1)], [(0, 0.8, 1), (50, 0.04, 1)], 1.0),  # below the floor
    ([(0, 0.8, 1)], [], 0.0),
    ([], [], None),
]


@pytest.mark.parametrize(("reference", "variant", "expected"), SOFT)
def test_soft_agreement(
    reference: list[tuple[float, float, int]], variant: list[tuple[float, float, int]], expected: float | None
) -> None:
    counts = np.array([softly_agreed(objects(*reference), objects(*variant), 0.05)])
    assert agreement_of(counts) == (None if expected is None else pytest.approx(expected, abs=1e-6))
