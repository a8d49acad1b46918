"""Recalibrated scores: fits against independent ones; a planted distortion of the scores comes back, noise does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.features.accuracy.ap import tables
from qviz.features.accuracy.operating import operate, with_recoveries
from qviz.features.accuracy.recalibration import (
    ISOTONIC,
    METHODS,
    PLATT,
    UNCHANGED,
    isotonic,
    logit,
    platt,
    platt_coefficients,
    recoveries,
)
from qviz.features.accuracy.text_operating import recovery_sentence
from qviz.structures import Detections
from tests.features.accuracy.test_operating import LABELS
from tests.features.accuracy.test_significance import CLASSES, scene

RNG = np.random.default_rng(3)
SCORES = RNG.uniform(0.01, 0.99, 600).round(2)
RIGHT = RNG.random(600) < SCORES**2


def pooled(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pool adjacent violators by the plain rule: merge neighbours until no block has a lower mean than the last."""
    blocks = [[float(right[scores == s].mean()), int((scores == s).sum()), 1] for s in np.unique(scores)]
    merged: list[list[float]] = []
    for block in blocks:
        merged.append(list(block))
        while len(merged) > 1 and merged[-2][0] >= merged[-1][0]:
            mean, count, values = merged.pop()
            before = merged[-1]
            merged[-1] = [
                (before[0] * before[1] + mean * count) / (before[1] + count),
                before[1] + count,
                before[2] + values,
            ]
    return np.concatenate([np.full(int(values), mean) for mean, _, values in merged])


def test_the_isotonic_fit_is_that_of_pool_adjacent_violators() -> None:
    fit = isotonic(SCORES, RIGHT)
    values = np.unique(SCORES)
    np.testing.assert_allclose(fit(values), pooled(SCORES, RIGHT), atol=2e-6)
    outside = fit(np.array([0.0, 1.0, (values[3] + values[4]) / 2]))
    assert outside.tolist() == pytest.approx([fit(values)[0], fit(values)[-1], fit(values)[3:5].mean()])


def test_platts_fit_is_the_minimum_of_its_cost() -> None:
    from scipy.optimize import minimize

    positives, count = int(RIGHT.sum()), len(RIGHT)
    targets = np.where(RIGHT, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    z = logit(SCORES)

    def cost(values: np.ndarray) -> float:
        return float(np.sum(np.logaddexp(0, values[0] * z + values[1]) - targets * (values[0] * z + values[1])))

    expected = minimize(cost, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    assert platt_coefficients(SCORES, RIGHT) == pytest.approx(tuple(expected), abs=1e-5)
    for right in (np.zeros(600, bool), np.ones(600, bool)):  # one kind only: finite, and the same for every score
        probabilities = platt(SCORES, right)(SCORES)
        assert np.isfinite(probabilities).all() and np.ptp(probabilities) < 0.01


def test_fits_agree_with_scikit_learn() -> None:
    isotonic_module, calibration = (pytest.importorskip(f"sklearn.{name}") for name in ("isotonic", "calibration"))
    grid = np.linspace(0, 1, 101)
    peer = isotonic_module.IsotonicRegression(out_of_bounds="clip").fit(SCORES, RIGHT.astype(float))
    np.testing.assert_allclose(isotonic(SCORES, RIGHT)(grid), peer.predict(grid), atol=2e-6)
    slope, offset = calibration._sigmoid_calibration(logit(SCORES), RIGHT.astype(float))
    assert platt_coefficients(SCORES, RIGHT) == pytest.approx((-slope, -offset), abs=1e-4)


def distorted(detections: dict[int, Detections]) -> dict[int, Detections]:
    """The same detections with all scores cubed: their order stays, and confidences fall."""
    return {number: replace(one, scores=one.scores**3) for number, one in detections.items()}


def test_a_distortion_of_the_scores_comes_back() -> None:
    dataset, detections = scene(60, seed=9)
    pair = [tables(dataset, one, CLASSES) for one in (detections, distorted(detections))]
    result = with_recoveries(operate("ab", LABELS, pair, 0.5), LABELS, pair, 0.5).losses[0]
    rows = {row.method: row for row in result.recoveries}
    assert tuple(rows) == METHODS
    lost = rows[UNCHANGED]
    assert lost.loss.value is not None and lost.loss.value > 0.05 and lost.loss.significant
    for method in (PLATT, ISOTONIC):
        row = rows[method]
        assert row.recovered is not None and row.recovered > 0.9
        assert row.threshold == pytest.approx(0.125, abs=0.03)
        assert row.calibration_error is not None and lost.calibration_error is not None
        assert row.calibration_error < lost.calibration_error
    figures = operate("ab", LABELS, pair, 0.5).models[1].figures
    assert (lost.precision, lost.recall) == pytest.approx((figures.precision, figures.recall))
    assert lost.false_positives_per_image == pytest.approx(figures.false_positives_per_image)
    assert lost.f1 == pytest.approx(2 * lost.precision * lost.recall / (lost.precision + lost.recall))
    assert "brings" in recovery_sentence(result, "int8")


def test_equal_models_and_few_images() -> None:
    dataset, detections = scene(60, seed=9)
    same = tables(dataset, detections, CLASSES)
    rows = recoveries(same, same, [0.5] * 5)
    assert [row.loss.value for row in rows if row.method in (UNCHANGED, PLATT, ISOTONIC)] == [0, 0, 0]
    assert rows[0].recovered is None
    few = replace(dataset, images=dataset.images[:8])
    table = tables(few, {image.id: detections[image.id] for image in few.images}, CLASSES)
    assert recoveries(table, table, [0.5] * 5) == ()
    none = tables(dataset, dict.fromkeys(detections, Detections.none()), CLASSES)
    assert recoveries(same, none, [0.5] * 5) == () and recoveries(same, same, [None] * 5)[0].recall == 0
