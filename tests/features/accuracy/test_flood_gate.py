"""A gate on the loss of AP does not pass a variant that floods the images, and the verdict says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

import qviz
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.confusion import ImageLoss
from qviz.features.accuracy.gate import check_losses, flood_sentence
from qviz.features.accuracy.text import finding, markdown, verdict
from tests.squares import Squares


def evaluation(squares: Squares, variants: list[str], reference_as_truth: bool = False) -> Evaluation:
    models = [squares.model("reference", "float32"), *(squares.model(name, "int8") for name in variants)]
    settings = {"mean": 0, "std": 255, "labels": squares.labels}
    with qviz.open(
        *models, dataset=squares.annotations, dataset_images=squares.images, cache=False, **settings
    ) as session:
        return session.evaluate(reference_as_truth=reference_as_truth)


@pytest.fixture(scope="module")
def flooded(squares: Squares) -> Evaluation:
    return evaluation(squares, ["reference", "flooding"])


def test_only_the_flooding_variant_fails(flooded: Evaluation) -> None:
    healthy, flooding = flooded.losses
    assert flooding.ap.value is not None and flooding.ap.value < 0.03
    gate = check_losses(flooded, 0.03)
    assert (gate.passed, gate.failed, gate.status) == (False, (flooding.variant,), 1)
    (remark,) = [text for text in gate.remarks if "floods" in text]
    assert f"{flooding.variant} floods the images: 96.0 false alarms per image at a confidence of 0.25" in remark
    assert f"{flooded.models[0].name} has 0.0" in remark
    assert healthy.variant not in remark


@pytest.mark.parametrize("confident", [None, "lower", "upper"])
def test_no_bound_excuses_a_flood(flooded: Evaluation, confident: str | None) -> None:
    assert flooded.losses[1].variant in check_losses(flooded, 0.9, confident).failed


def test_the_verdict_and_the_summary_have_the_same_sentence(flooded: Evaluation) -> None:
    names = [model.name for model in flooded.models]
    sentence = flood_sentence(flooded, 1, names[0], names[2])
    assert sentence in verdict(flooded)
    assert "short floods the images: 96.0" in finding(flooded, ["ref", "good", "short"])
    assert "floods the images: 96.0 false alarms per image" in markdown(flooded, check_losses(flooded, 0.03))


def test_a_reference_as_truth_has_no_false_alarms_so_all_objects_are_counted(squares: Squares) -> None:
    result = evaluation(squares, ["reference", "flooding"], reference_as_truth=True)
    healthy, flooding = result.details
    assert (result.floods(healthy), result.floods(flooding)) == (False, True)
    few = ImageLoss("a", "0", 10, 10, 9, 0, 1)  # one box elsewhere of ten is no flood
    assert not result.floods(replace(healthy, images=(few,)))
    assert replace(result, reference_as_truth=False).floods(replace(healthy, images=(few,)))


FLOODS = [
    # reference's and variant's false alarms on one image
    (0, 0, False),
    (0, 1, True),
    (10, 11, False),
    (10, 12, True),
    (5, 0, False),
]


@pytest.mark.parametrize(("reference", "variant", "expected"), FLOODS)
def test_how_many_false_alarms_are_a_flood(flooded: Evaluation, reference: int, variant: int, expected: bool) -> None:
    row = ImageLoss("a", "0", 20, 20, 20, reference, variant)
    assert flooded.floods(replace(flooded.details[0], images=(row,))) == expected
