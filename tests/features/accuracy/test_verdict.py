"""The verdict on an evaluation."""

from __future__ import annotations

import pytest

from qviz.features.accuracy.ap import ClassLoss, VariantLoss
from qviz.features.accuracy.text import loss_verdict
from qviz.structures import Loss


def loss(value: float | None, *classes: tuple[str, float]) -> VariantLoss:
    return VariantLoss("", Loss(value), tuple(ClassLoss(label, Loss(worse), 9, 9) for label, worse in classes))


LOSSES = [
    (None, {"int8": loss(0.1)}, "Annotated images are needed to measure accuracy."),
    (0.4, {}, "FP32 reaches 40.0 AP. Add a quantized variant to measure its loss."),
    (
        0.4,
        {"int8": loss(0.1, ("dog", 0.3), ("cat", -0.1))},
        "FP32 reaches 40.0 AP; int8 loses 10.0 AP points, most in dog",
    ),
    (0.4, {"a": loss(0.01, ("x", 0.02)), "b": loss(0.2, ("y", 0.5))}, "b loses 20.0 AP points, most in y (50.0)"),
    (0.4, {"int8": loss(-0.1, ("dog", -0.1))}, "FP32 reaches 40.0 AP; int8 has a loss of -10.0 AP points (better)."),
    (0.4, {"int8": loss(0.0)}, "FP32 reaches 40.0 AP; int8 loses no AP."),
    (0.4, {"a": loss(-0.1), "b": loss(0.0)}, "FP32 reaches 40.0 AP; no variant loses AP."),
    (0.4, {"int8": loss(None)}, "the loss of int8 is unknown"),
]


def loss_with_interval(value: float, low: float, high: float, *classes: tuple[str, float, bool]) -> VariantLoss:
    rows = (ClassLoss(label, Loss(worse, worse - 0.1, worse + 0.1, real), 9, 9) for label, worse, real in classes)
    return VariantLoss("", Loss(value, low, high, low > 0 or high < 0), tuple(rows))


BAD = loss_with_interval(0.139, 0.054, 0.265, ("chair", 0.5, False), ("dog", 0.4, True))
NOISE = loss_with_interval(0.003, -0.004, 0.011, ("cat", 0.2, False))
GAIN = loss_with_interval(-0.017, -0.089, 0.004)
LOSSES += [
    (0.4, {"int8": NOISE}, "int8 loses 0.3 AP points [-0.4, 1.1], not significant."),
    # an insignificant class is not named although it lost more
    (0.4, {"bad": BAD}, "bad loses 13.9 AP points [5.4, 26.5], significant, most in dog (40.0)."),
    (0.4, {"int8": NOISE, "bad": BAD}, "most in dog (40.0). int8 loses 0.3 AP points [-0.4, 1.1], not significant."),
    (
        0.4,
        {"int8": GAIN, "bad": BAD},
        "most in dog (40.0). int8 has a loss of -1.7 AP points (better) [-8.9, 0.4], not significant.",
    ),
    (0.4, {"a": NOISE, "b": GAIN, "bad": BAD}, "(40.0). The other 2 variants lose at most 0.3, not significant."),
    (0.4, {"a": GAIN, "b": GAIN, "bad": BAD}, "(40.0). The other 2 variants lose none."),
    (
        0.4,
        {"a": NOISE, "b": loss_with_interval(0.1, 0.05, 0.2), "bad": BAD},
        "b loses 10.0 AP points [5.0, 20.0], significant. The other variant loses at most 0.3, not significant.",
    ),
    (0.4, {"a": BAD, "b": BAD, "bad": BAD}, "significant. bad loses 13.9 AP points [5.4, 26.5], significant."),
]


def test_agreement_is_not_called_accuracy() -> None:
    sentence = loss_verdict("FP32", 1.0, {"bad": BAD}, reference_as_truth=True)
    assert sentence.startswith("Measured against FP32's own detections, bad loses 13.9 AP points")
    sentence = loss_verdict("FP32", 1.0, {"a": GAIN}, reference_as_truth=True)
    assert sentence.endswith("detections, a has a loss of -1.7 AP points (better) [-8.9, 0.4], not significant.")


@pytest.mark.parametrize(("ap", "losses", "expected"), LOSSES)
def test_the_loss_sentence(ap: float | None, losses: dict[str, VariantLoss], expected: str) -> None:
    assert expected in loss_verdict("FP32", ap, losses)
