"""Limits on losses, with and without a bound of the interval."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import AveragePrecision, VariantLoss
from qviz.features.accuracy.gate import Gate, check_limits, check_losses, check_shapes
from qviz.features.accuracy.shapes import ShapeAccuracy
from qviz.features.exporting.text_sarif import sarif
from qviz.structures import Loss


def evaluation(**losses: Loss) -> Evaluation:
    rows = tuple(VariantLoss(name, loss, ()) for name, loss in losses.items())
    return Evaluation("d", 27, 88, (), (), rows, 1.0)


def gate(loss: Loss, limit: float, confident: str | None) -> Gate:
    return check_losses(evaluation(int8=loss), limit, confident)


NARROW, WIDE = Loss(0.02, 0.018, 0.022, True), Loss(0.02, -0.03, 0.07, False)
CASES = [
    # loss, limit, confident -> passed
    (NARROW, 0.02, None, True),  # exactly the limit passes
    (NARROW, 0.019, None, False),
    (NARROW, 0.019, "lower", True),
    (NARROW, 0.017, "lower", False),
    (NARROW, 0.021, "upper", False),
    (NARROW, 0.023, "upper", True),
    (WIDE, 0.01, None, False),
    (WIDE, 0.01, "lower", True),  # not significant
    (WIDE, 0.03, "upper", False),  # the upper bound is beyond the limit
    (Loss(-0.01, -0.02, -0.005, True), 0.0, "upper", True),
    (Loss(None), 1.0, None, False),  # an unknown loss does not pass
    (Loss(0.0), 1.0, "lower", False),  # an unknown bound does not pass either
    (Loss(0.0), 1.0, None, True),
]


@pytest.mark.parametrize(("loss", "limit", "confident", "passed"), CASES)
def test_a_loss_against_a_limit(loss: Loss, limit: float, confident: str | None, passed: bool) -> None:
    result = gate(loss, limit, confident)
    assert (result.passed, result.failed) == (passed, () if passed else ("int8",))


UNDECIDED = [
    (WIDE, 0.03, True),
    (NARROW, 0.03, False),  # narrower than the limit
    (Loss(0.2, 0.1, 0.3, True), 0.03, False),  # wide, but clearly beyond
    (Loss(-0.2, -0.3, -0.1, True), 0.03, False),  # wide, but clearly below
    (Loss(0.2), 0.03, False),  # no interval
]


@pytest.mark.parametrize(("loss", "limit", "undecided"), UNDECIDED)
def test_undecided_gates_give_a_remark(loss: Loss, limit: float, undecided: bool) -> None:
    for confident in (None, "lower", "upper"):
        remarks = gate(loss, limit, confident).remarks
        assert len(remarks) == undecided
    if undecided:
        assert remarks[0].startswith("Undecided with 27 images: the loss of int8 lies in [-0.030, 0.070], and")


def test_a_gate_names_the_number_of_images_that_would_decide() -> None:
    sentence = "27 images give an interval of [-3.0, 7.0] points; about 300 images like these would decide a limit of 3"
    result = check_losses(evaluation(int8=WIDE, other=NARROW), 0.03, "upper")
    assert result.power == (f"{sentence} points.",) and result.sentences[-1] == result.power[0]
    assert check_losses(evaluation(int8=NARROW), 0.03).power == ()


def test_only_failing_variants_are_named() -> None:
    result = check_losses(evaluation(good=Loss(0.001), bad=Loss(0.5), worse=Loss(0.6)), 0.01)
    assert result.failed == ("bad", "worse")
    assert result.to_json() == {
        "max_ap_loss": 0.01,
        "confident": None,
        "passed": False,
        "failed": ["bad", "worse"],
        "remarks": [],
        "inconclusive": "",
        "power": ["27 images are too few for an interval."],
    }


STRICT = [
    ({"int8": WIDE}, 0.03, 2, ()),
    ({"int8": NARROW}, 0.03, 0, ()),
    ({"int8": NARROW}, 0.01, 1, ("int8",)),
    ({"int8": WIDE, "bad": NARROW}, 0.01, 1, ("bad",)),  # the other variant is decided
    ({"int8": Loss(-0.2, -0.3, -0.1, True)}, 0.03, 0, ()),  # wide, but clearly better
    ({"int8": Loss(0.01)}, 0.03, 0, ()),  # too few images for an interval
]


@pytest.mark.parametrize(("losses", "limit", "status", "failed"), STRICT)
def test_a_strict_gate_concludes_only_what_the_data_decide(
    losses: dict[str, Loss], limit: float, status: int, failed: tuple[str, ...]
) -> None:
    result = check_losses(evaluation(**losses), limit, strict=True)
    assert (result.status, result.failed, result.passed) == (status, failed, status == 0)
    assert result.inconclusive.startswith("Undecided with 27 images") == (status == 2)


FIGURES = AveragePrecision("", 0.5, 0.5, 0.5, None, None, None, 0.5, ())


def with_keypoints(reference: float | None, *losses: Loss | None) -> Evaluation:
    """An evaluation of `ref` and one variant for each loss: a, b, ... None: the model returns no keypoints."""
    names = ["ref", *"abc"[: len(losses)]]
    rows = tuple(VariantLoss(name, Loss(0.0), ()) for name in names[1:])
    models = tuple(replace(FIGURES, name=name) for name in names)
    shapes = ShapeAccuracy(
        "keypoints",
        8,
        (None if reference is None else replace(FIGURES, ap=reference), *models[1:]),
        tuple(None if loss is None else VariantLoss("", loss, ()) for loss in losses),
        17,
    )
    return replace(evaluation(), models=models, losses=rows, shapes=(shapes,))


def test_a_limit_on_the_ap_of_keypoints() -> None:
    """The same rules as for boxes; a variant without keypoints fails, and alerts name their own rule."""
    result = with_keypoints(0.5, NARROW, Loss(0.001, 0.0, 0.002, False), None)
    limits = check_limits(result, {"ap": 0.01, "keypoint_ap": 0.01, "recall": None})
    boxes, keypoints = limits
    assert (boxes.measure, boxes.status) == ("ap", 0)
    assert (keypoints.status, keypoints.failed) == (1, ("a", "c"))
    assert keypoints.remarks == ("c returns no keypoints.",)
    assert keypoints.condition == "at most 1.0 AP points of keypoints lost"
    assert keypoints.to_json()["max_keypoint_ap_loss"] == 0.01
    assert check_shapes(result, "keypoint_ap", 0.019, "lower").failed == ("c",)
    undecided = check_shapes(with_keypoints(0.5, WIDE), "keypoint_ap", 0.03, strict=True)
    assert undecided.status == 2
    assert "the loss of AP of keypoints of a lies in [-0.030, 0.070]" in undecided.inconclusive
    alerts = sarif(result, limits, [], "0")["runs"][0]["results"]
    assert [(row["ruleId"], row["message"]["text"].split(";")[0]) for row in alerts] == [
        ("keypoint-ap-loss", "a loses 2.0 points [1.8, 2.2]"),
        ("keypoint-ap-loss", "c loses an unknown number of points"),
    ]


WITHOUT_KEYPOINTS = [
    (with_keypoints(None, None), "ref, the reference, returns no keypoints, so a loss of their AP cannot be measured."),
    (with_keypoints(0.0, Loss(0.0)), "ref finds none of the annotated keypoints."),
    (
        replace(with_keypoints(0.5), shapes=(ShapeAccuracy("keypoints", 0, (), (), 17, "The annotations have none."),)),
        "The annotations have none.",
    ),
    (
        replace(with_keypoints(0.5), shapes=()),
        "None of the models returns keypoints, or none are annotated, so a loss of their AP cannot be measured.",
    ),
]


@pytest.mark.parametrize(("result", "reason"), WITHOUT_KEYPOINTS)
def test_without_keypoints_the_gate_cannot_conclude(result: Evaluation, reason: str) -> None:
    outcome = check_shapes(result, "keypoint_ap", 0.5)
    assert (outcome.status, outcome.failed, outcome.inconclusive) == (2, (), reason)
