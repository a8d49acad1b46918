"""F1, its best threshold, and objects recovered by moving it, on constructed cases; ECE by its formula."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.coco.tables import MatchTables
from qviz.features.accuracy.thresholds import PrecisionRecall, reliability, threshold_shift
from qviz.structures import Detections
from tests.features.accuracy.scenes import CAT, CLASSES, DOG, dataset, detected, image

BEST = [
    # scores, which are right, truths -> threshold, F1
    ([0.9, 0.8, 0.7], [True, True, False], 2, 0.75, 1.0),
    ([0.9, 0.8, 0.7], [True, False, True], 2, 0.35, 4 / 5),  # including the false one between gives a higher F1
    ([0.9, 0.8], [False, True], 1, 0.4, 2 / 3),
    ([0.9, 0.5, 0.5], [True, True, False], 2, 0.25, 4 / 5),  # equal scores cannot be separated
    ([0.5, 0.5], [True, False], 1, 0.25, 2 / 3),
    ([0.9, 0.4], [False, False], 3, None, 0.0),
    ([], [], 3, None, 0.0),
    ([0.9, 0.8], [True, False], 1, 0.85, 1.0),
    ([0.9, 0.8, 0.6], [True, False, True], 3, 0.3, 4 / 6),  # beats 2 / 4 of the first alone
]


@pytest.mark.parametrize(("scores", "right", "truths", "score", "f1"), BEST)
def test_the_best_threshold(
    scores: list[float], right: list[bool], truths: int, score: float | None, f1: float
) -> None:
    curve = PrecisionRecall(np.array(scores), np.array(right, bool), truths)
    best = curve.best()
    assert (best.score, best.f1) == (pytest.approx(score), pytest.approx(f1))
    assert curve.f1(best.score) == pytest.approx(f1)  # applying the threshold gives this F1
    tried = [curve.f1(threshold) for threshold in np.linspace(0, 1, 101)]
    assert max(tried) <= f1 + 1e-9


def test_the_highest_threshold_of_equal_f1_is_best() -> None:
    # 1 of 2 at .9: 2 / 3; then all four reached, 2 right: 4 / 6
    curve = PrecisionRecall(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, False, True]), 2)
    assert curve.best().f1 == pytest.approx(2 / 3)
    assert curve.best().score == pytest.approx(0.85)


TRUTHS = dataset(image(1, (0, CAT), (200, CAT), (400, DOG)))


def tables(detections: Detections) -> MatchTables:
    return average_precision("m", TRUTHS, {1: detections}, CLASSES).tables


GOOD = detected((0, 0, 0.9), (200, 0, 0.8), (400, 1, 0.7), (600, 1, 0.3))
LABELS = ("cat", "dog")


def test_a_lower_threshold_recovers_objects() -> None:
    lower = detected((0, 0, 0.45), (200, 0, 0.4), (400, 1, 0.35), (600, 1, 0.1))
    shift = threshold_shift(LABELS, tables(GOOD), tables(lower))
    assert (shift.reference.score, shift.reference.f1) == (pytest.approx(0.5), 1.0)
    assert (shift.variant.score, shift.variant.f1) == (pytest.approx(0.225), 1.0)
    assert (shift.variant_f1_unmoved, shift.recovered) == (0.0, 1.0)
    assert shift.to_json()["recovered"] == 1.0


def test_objects_without_any_detection_are_not_recovered() -> None:
    detections = detected((0, 0, 0.9), (600, 1, 0.8))
    shift = threshold_shift(LABELS, tables(GOOD), tables(detections))
    assert shift.variant_f1_unmoved == pytest.approx(2 / 5)
    assert shift.variant.f1 == pytest.approx(2 / 4)  # cut above the false one
    assert shift.recovered == pytest.approx((0.5 - 0.4) / (1 - 0.4))


def test_no_loss_means_no_recovery() -> None:
    assert threshold_shift(LABELS, tables(GOOD), tables(GOOD)).recovered is None
    worse = tables(detected((0, 0, 0.9), (600, 1, 0.85)))
    assert threshold_shift(LABELS, worse, tables(GOOD)).recovered is None


def test_a_model_without_detections_has_no_best_threshold() -> None:
    shift = threshold_shift(LABELS, tables(GOOD), tables(detected()))
    assert (shift.variant.score, shift.variant.f1, shift.recovered) == (None, 0.0, 0.0)
    shift = threshold_shift(LABELS, tables(detected()), tables(GOOD))
    assert (shift.reference.score, shift.variant_f1_unmoved, shift.recovered) == (None, 0.0, None)


def test_each_class_has_its_own_threshold() -> None:
    cat, dog = threshold_shift(LABELS, tables(GOOD), tables(GOOD)).per_class
    assert (cat.label, cat.truths, cat.reference.score) == ("cat", 2, pytest.approx(0.4))
    assert (dog.label, dog.truths, dog.reference.score) == ("dog", 1, pytest.approx(0.5))


def test_ece_equals_its_formula() -> None:
    result = reliability(tables(detected((0, 0, 0.92), (200, 0, 0.98), (600, 0, 0.96), (400, 1, 0.31), (700, 1, 0.02))))
    low, high = result.bins  # the detection at .02 is not evaluated
    assert (low.count, low.confidence, low.precision) == (1, pytest.approx(0.31), 1.0)
    assert (high.count, high.confidence, high.precision) == (3, pytest.approx((0.92 + 0.98 + 0.96) / 3), 2 / 3)
    expected = (3 * abs((0.92 + 0.98 + 0.96) / 3 - 2 / 3) + abs(0.31 - 1)) / 4
    assert result.ece == pytest.approx(expected, abs=1e-6)


def test_ece_of_confidence_one_and_of_no_detections() -> None:
    (certain,) = reliability(tables(detected((0, 0, 1.0)))).bins
    assert (certain.confidence, certain.precision) == (1.0, 1.0)
    empty = reliability(tables(detected()))
    assert (empty.bins, empty.ece) == ((), None)
