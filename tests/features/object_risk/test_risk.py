"""The risk of objects: plain counts, a planted noise that is predicted, and losses at random that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from qviz.features.accuracy.recalibration import logistic_coefficients, logit, sigmoid
from qviz.features.comparison.matching import Change
from qviz.features.object_risk import Risks
from qviz.features.object_risk.estimate import (
    RiskTest,
    auroc,
    cross_fitted_risks,
    deciles,
    risk_test,
    risks_from,
)
from qviz.features.object_risk.margins import ImageObjects, head_noise, image_objects, in_units_of_noise
from qviz.features.object_risk.text import sentences
from qviz.structures import Detections, Inference

THRESHOLD, NMS_IOU = 0.25, 0.6


def test_auroc_equals_a_count_of_pairs_and_a_rank_test() -> None:
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    risks, events = rng.integers(0, 12, 80) / 12, rng.random(80) < 0.3
    times = rng.integers(0, 4, 80)
    with_event, without = risks[events], risks[~events]
    wins = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in with_event for b in without)
    assert auroc(risks, events) == pytest.approx(wins / (len(with_event) * len(without)), abs=1e-12)
    ranks = mannwhitneyu(with_event, without).statistic / (len(with_event) * len(without))
    assert auroc(risks, events) == pytest.approx(ranks, abs=1e-12)
    repeated = auroc(np.repeat(risks, times), np.repeat(events, times))
    assert auroc(risks, events, times) == pytest.approx(repeated, abs=1e-12)
    assert np.isnan(auroc(risks, np.zeros(80, bool)))


def test_the_regression_is_the_minimum_that_scipy_finds() -> None:
    from scipy.optimize import minimize

    rng = np.random.default_rng(1)
    columns = rng.normal(0, 3, (3, 200))
    events = rng.random(200) < sigmoid(columns[0] - 1)
    count, positives = len(events), events.sum()
    targets = np.where(events, (positives + 1) / (positives + 2), 1 / (count - positives + 2))

    def cost(weights: np.ndarray) -> float:
        z = weights[:3] @ columns + weights[3]
        return float(np.sum(np.logaddexp(0, z) - targets * z) + np.sum(weights[:3] ** 2) / 2)

    expected = minimize(cost, np.zeros(4), tol=1e-10).x
    assert logistic_coefficients(columns, events, ridge=1.0) == pytest.approx(expected, abs=1e-4)


def inference(boxes: list[list[float]], scores: list[float], classes: list[int]) -> Inference:
    everything = Detections.of(boxes, scores, classes)
    return Inference(everything, everything, 100, 100, 1.0)


def test_margins_of_a_hand_made_image() -> None:
    """Two overlapping boxes of class 0 (IoU 1/2), and class 1 at the place of the first with a score of .5."""
    first, second = [0.0, 0.0, 40.0, 30.0], [0.0, 10.0, 40.0, 40.0]
    reference = inference([first, first, second], [0.8, 0.5, 0.6], [0, 1, 0])
    variant = inference([first, second], [0.7, 0.1], [0, 0])
    image = image_objects(("a.jpg", "d"), reference, variant, 0.55, NMS_IOU)
    assert image.objects.scores == pytest.approx([0.8, 0.6])
    assert image.runner_up == pytest.approx([0.5, 0.5])
    assert image.runner_up_class.tolist() == [1, 1]
    assert np.isnan(image.nms_margin[0]) and image.nms_margin[1] == pytest.approx(NMS_IOU - 0.5)
    assert image.changes == (Change.KEPT, Change.LOST)
    assert image.variant_scores == pytest.approx([0.7, 0.7])  # its best box of the class, as for `lost_because`
    noise = head_noise([image])
    assert noise is not None
    shifts = logit(np.array([0.7, 0.7])) - logit(np.array([0.8, 0.6]))
    assert noise.score_shift == pytest.approx(np.median(shifts), abs=1e-6)
    assert noise.score_spread == pytest.approx(1.4826 * np.ptp(shifts) / 2, abs=1e-6)
    assert noise.box_error == pytest.approx(0.25)
    margins = in_units_of_noise([image], noise)
    expected = logit(np.array([0.8, 0.6])) + noise.score_shift - logit(np.array([0.55]))
    assert margins[0] == pytest.approx(expected / noise.score_spread, abs=1e-5)
    assert margins[2] == pytest.approx([8.0, 0.1 / 0.25], abs=1e-5)


Quantizer = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def noisy(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.asarray(sigmoid(logit(scores) + rng.normal(-0.2, 0.5, len(scores))))


def random(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.where(rng.random(len(scores)) < 0.2, 0.1, scores)


def images_of(quantizer: Quantizer, seed: int, count: int = 40) -> list[ImageObjects]:
    """Images with ten objects each, whose variant's scores come from this function."""
    rng = np.random.default_rng(seed)
    corners = np.array([[100.0 * k, 0, 100 * k + 50, 50] for k in range(10)])
    rows = []
    for number in range(count):
        scores = rng.uniform(THRESHOLD, 0.95, 10)
        runs = [inference(corners.tolist(), one.tolist(), [0] * 10) for one in (scores, quantizer(scores, rng))]
        rows.append(image_objects((f"{seed}_{number}.jpg", f"{seed}_{number}"), *runs, THRESHOLD, NMS_IOU))
    return rows


def test_noise_of_the_head_is_predicted_and_calibrated() -> None:
    calibration, images = images_of(noisy, 1), images_of(noisy, 2)
    for risks in (risks_from(calibration, images, Change.LOST), cross_fitted_risks(images, Change.LOST)):
        result = risk_test(images, risks, Change.LOST, 60)
        assert result.shown and result.low is not None and result.low > 0.85
        assert sum(row.objects for row in result.deciles) == 400
        assert [row.risk for row in result.deciles] == sorted(row.risk for row in result.deciles)
        assert max(abs(row.risk - row.share) for row in result.deciles) < 0.2
        assert sum(row.objects * row.risk for row in result.deciles) == pytest.approx(result.events, rel=0.25)


def test_losses_at_random_are_not_predicted_and_the_risk_is_not_shown() -> None:
    calibration, images = images_of(random, 3), images_of(random, 4)
    result = risk_test(images, risks_from(calibration, images, Change.LOST), Change.LOST, 60)
    assert result.events > 50 and result.auroc is not None and result.auroc < 0.6
    assert not result.shown


def test_each_image_gets_its_risk_from_other_images() -> None:
    """Another outcome on an image changes the risks of the others, but not those of the images of its own part."""
    images = images_of(noisy, 5, 20)
    risks = cross_fitted_risks(images, Change.LOST).reshape(20, 10)
    changed = [replace(images[0], changes=(Change.LOST,) * 10), *images[1:]]
    moved = (cross_fitted_risks(changed, Change.LOST).reshape(20, 10) != risks).any(axis=1)
    assert not moved[0] and moved.sum() == 16


def test_too_few_objects_have_no_risk() -> None:
    images = images_of(noisy, 6, 5)
    assert np.isnan(risks_from(images, images, Change.LOST)).all()
    result = risk_test(images, cross_fitted_risks(images, Change.RELABELLED), Change.RELABELLED, 0)
    assert (result.auroc, result.shown, result.deciles) == (None, False, ())
    assert deciles(np.zeros(0), np.zeros(0, bool)) == ()
    assert np.isnan(cross_fitted_risks(images[:1], Change.LOST)).all()  # fewer images than parts
    assert len(cross_fitted_risks([], Change.LOST)) == 0


def result_of(*tests: RiskTest, images: int = 20) -> Risks:
    return Risks("float32", "int8", 0.25, images, images, False, None, (), (), tests)


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            result_of(RiskTest("lost", 90, 30, 40, 0.56, 0.48, 0.64, 0.5)),
            "Lost: the risk is not shown. Its AUROC on other images is 0.56 [0.48, 0.64]; below 0.60 it does not"
            " predict which objects are lost.",
        ),
        (
            result_of(RiskTest("relabelled", 90, 0, 0)),
            "Relabelled: the risk is not known, because no object on the calibration images was relabelled"
            " (5 are needed).",
        ),
        (
            result_of(RiskTest("lost", 90, 2, 9)),
            "Lost: the risk is not known, because 2 of 90 objects were lost, too few to test it.",
        ),
        (
            result_of(RiskTest("lost", 90, 30, 40), images=3),
            "Lost: the risk is not known, because 3 images are too few to estimate it (10 are needed).",
        ),
    ],
)
def test_a_risk_that_is_not_shown_has_a_reason(result: Risks, sentence: str) -> None:
    assert sentences(result) == [sentence]
