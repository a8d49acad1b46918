from __future__ import annotations

import pytest

from qviz.features.accuracy.ap import ClassLoss, VariantLoss
from qviz.features.comparison.matching import Change, Summary, summarise
from qviz.features.comparison.text import damage_verdict, image_verdict, level, loss_verdict
from qviz.structures import Loss


def counts(kept: int = 0, shifted: int = 0, relabelled: int = 0, lost: int = 0, spurious: int = 0) -> Summary:
    many = dict(zip(Change, (kept, shifted, relabelled, lost, spurious), strict=True))
    return summarise([kind for kind, number in many.items() for _ in range(number)], [])


@pytest.mark.parametrize(
    ("agreement", "word"),
    [(1.0, "unchanged"), (0.98, "unchanged"), (0.97, "slightly changed"), (0.84, "damaged"), (0.0, "broken")],
)
def test_levels(agreement: float, word: str) -> None:
    assert level(agreement) == word


DAMAGE = [
    ({}, 3, ["FP32 stands alone", "add a quantized variant"]),
    ({"int8": counts(kept=1)}, 0, ["No image has been run yet"]),
    ({"int8": counts(kept=4)}, 3, ["int8 is unchanged: all 4 objects are kept", "(agreement 1.00)"]),
    ({"int8": counts(lost=3, spurious=1)}, 3, ["int8 is broken: of 3 objects 3 lost, and 1 spurious"]),
    ({"int8": counts(spurious=2)}, 3, ["int8 is broken: the reference finds nothing where it shows 2 objects"]),
    # the worst first, wherever it stands
    (
        {"fp16": counts(kept=4), "int8": counts(kept=1, lost=1)},
        3,
        ["int8 is damaged: of 2 objects 1 lost (agreement 0.67)", "The other agrees with FP32 by 1.00."],
    ),
    (
        {"fp16": counts(kept=4), "int8": counts(lost=1), "dynamic": counts(kept=1, lost=1)},
        3,
        ["int8 is broken", " dynamic is damaged (0.67). The other agrees with FP32 by 1.00."],
    ),
    (
        {str(i): counts(lost=1) for i in range(5)} | {"fp16": counts(kept=4), "int8": counts(kept=9, lost=1)},
        3,
        [
            "0 is broken",
            ". 1 is broken (0.00). 2 is broken (0.00). 2 more are hurt. The other 2 agree with FP32 by 0.9",
        ],
    ),
]


@pytest.mark.parametrize(("summaries", "images", "sentences"), DAMAGE)
def test_the_finding_in_a_sentence(summaries: dict[str, Summary], images: int, sentences: list[str]) -> None:
    said = damage_verdict("FP32", summaries, images)
    assert [sentence for sentence in sentences if sentence not in said] == []


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (counts(), "no object: neither the reference nor int8 finds one."),
        (counts(kept=1), "int8: its object is kept (agreement 1.00)."),
        (counts(shifted=1, relabelled=2, lost=3), "int8: of 6 objects 3 lost, 2 relabelled, 1 shifted"),
    ],
)
def test_of_one_image(summary: Summary, said: str) -> None:
    assert image_verdict("int8", summary).startswith(said)


def loss(value: float | None, *classes: tuple[str, float]) -> VariantLoss:
    return VariantLoss("", Loss(value), tuple(ClassLoss(label, Loss(worse), 9, 9) for label, worse in classes))


LOSSES = [
    (None, {"int8": loss(0.1)}, "Annotated images and at least one variant are needed"),
    (0.4, {}, "Annotated images and at least one variant are needed"),
    (
        0.4,
        {"int8": loss(0.1, ("dog", 0.3), ("cat", -0.1))},
        "FP32 reaches 40.0 AP; int8 loses 10.0 AP points, most in dog",
    ),
    (0.4, {"a": loss(0.01, ("x", 0.02)), "b": loss(0.2, ("y", 0.5))}, "b loses 20.0 AP points, most in y (50.0)"),
    (0.4, {"int8": loss(-0.1, ("dog", -0.1))}, "FP32 reaches 40.0 AP; no variant loses AP."),
    (0.4, {"int8": loss(None)}, "no variant loses AP"),
]


def sure(value: float, low: float, high: float, *classes: tuple[str, float, bool]) -> VariantLoss:
    rows = (ClassLoss(label, Loss(worse, worse - 0.1, worse + 0.1, real), 9, 9) for label, worse, real in classes)
    return VariantLoss("", Loss(value, low, high, low > 0 or high < 0), tuple(rows))


BAD = sure(0.139, 0.054, 0.265, ("chair", 0.5, False), ("dog", 0.4, True))
NOISE = sure(0.003, -0.004, 0.011, ("cat", 0.2, False))
GAIN = sure(-0.017, -0.089, 0.004)
LOSSES += [
    (0.4, {"int8": NOISE}, "int8 loses 0.3 AP points [-0.4, 1.1], not significant."),
    # a class that may be noise is not named, though it lost more
    (0.4, {"bad": BAD}, "bad loses 13.9 AP points [5.4, 26.5], significant, most in dog (40.0)."),
    (0.4, {"int8": NOISE, "bad": BAD}, "most in dog (40.0). int8 loses 0.3 AP points [-0.4, 1.1], not significant."),
    (0.4, {"int8": GAIN, "bad": BAD}, "most in dog (40.0). int8 loses none."),
    (0.4, {"a": NOISE, "b": GAIN, "bad": BAD}, "(40.0). The other 2 lose at most 0.3, not significant."),
    (0.4, {"a": GAIN, "b": GAIN, "bad": BAD}, "(40.0). The other 2 lose none."),
    (
        0.4,
        {"a": NOISE, "b": sure(0.1, 0.05, 0.2), "bad": BAD},
        "(40.0). b loses 10.0 AP points [5.0, 20.0], significant. The other loses at most 0.3, not significant.",
    ),
    (0.4, {"a": BAD, "b": BAD, "bad": BAD}, "significant. bad loses 13.9 AP points [5.4, 26.5], significant."),
]


def test_agreement_is_not_called_accuracy() -> None:
    said = loss_verdict("FP32", 1.0, {"bad": BAD}, reference_as_truth=True)
    assert said.startswith("Against FP32's own detections, bad loses 13.9 AP points")
    assert loss_verdict("FP32", 1.0, {"a": GAIN}, reference_as_truth=True).endswith("detections, no variant loses AP.")


@pytest.mark.parametrize(("ap", "losses", "said"), LOSSES)
def test_the_loss_in_a_sentence(ap: float | None, losses: dict[str, VariantLoss], said: str) -> None:
    assert said in loss_verdict("FP32", ap, losses)
