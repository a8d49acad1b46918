"""A candidate that keeps the budget of AP but floods the images with objects is not chosen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qviz.context import Context
from qviz.datasets.annotated import read_dataset
from qviz.engine import LocalEngine
from qviz.features.accuracy.evaluator import Evaluator, Measurement, floods, is_flood
from qviz.features.detection.models import LoadedModel, ModelSource, load_models
from qviz.features.rescuing.result import (
    AP,
    Budget,
    Candidate,
    Chosen,
    ImageCounts,
    ReferenceFile,
    Rescue,
    Tried,
    best_of,
)
from qviz.features.rescuing.text import verdict
from qviz.structures import Loss, Settings
from tests.squares import Squares


@pytest.fixture(scope="module")
def measurements(squares: Squares, engine: LocalEngine) -> tuple[Measurement, Measurement, Measurement]:
    """The reference, its int8 file, and one that finds 96 objects per image that are not there."""
    settings = Settings(mean=(0.0,) * 3, std=(255.0,) * 3, labels=("red", "green", "blue"))
    paths: list[Path] = [
        squares.model("reference", "float32"),
        squares.model("reference", "int8"),
        squares.model("flooding", "int8"),
    ]
    names = ("float32.tflite", "int8.tflite", "flooding.tflite")
    sources = [ModelSource(name, path.read_bytes(), settings) for name, path in zip(names, paths, strict=True)]
    models: list[LoadedModel] = load_models(engine, sources)
    evaluator = Evaluator(Context(engine), models, read_dataset(squares.annotations, squares.images))
    first, second, third = (evaluator.measure(Context(engine), model, resamples=0).result() for model in models)
    return first, second, third


def test_ap_does_not_see_a_flood(measurements: tuple[Measurement, Measurement, Measurement]) -> None:
    reference, healthy, flooding = measurements
    assert (reference.ap or 0) - (flooding.ap or 0) < 0.03
    assert reference.false_alarms == 0
    assert (flooding.false_alarms or 0) > 50
    assert floods(reference, flooding)
    assert not floods(reference, healthy)
    assert not floods(reference, reference)


def test_how_many_false_alarms_are_a_flood() -> None:
    assert not is_flood(2.0, 2.2)
    assert is_flood(2.0, 2.4)
    assert not is_flood(0.0, 0.1)
    assert not floods(*[Measurement(None, None, 1.0, None, None, None)] * 2)  # type: ignore[arg-type]


SMALL = Tried(Candidate("int8"), "recipe", 100, "int8", "a", 0.65, 0.08, 0.01, 96.0, True, False)
LARGE = Tried(Candidate("int16x8"), "recipe", 200, "int16x8", "b", 0.64, 0.98, 0.02, 0.0, False, True)


def test_a_flooding_candidate_comes_last() -> None:
    assert best_of((SMALL, LARGE), "size") == LARGE
    assert best_of((SMALL, replace(LARGE, within=False, search_loss=0.3)), "size") == replace(
        LARGE, within=False, search_loss=0.3
    )
    assert best_of((SMALL,), "size") == SMALL


def test_the_verdict_tells_of_a_flood() -> None:
    chosen = Chosen(LARGE, Loss(0.01, 0.0, 0.02, False), False, 4, 0.65, 0.66, 0.3, 24.0, 0.5)
    counts, reference = ImageCounts(4, 4), ReferenceFile("a.tflite", "0", 400)
    result = Rescue(reference, Budget(AP, 0.03), "size", counts, (SMALL, LARGE), LARGE, b"", chosen)
    assert not result.within_budget
    assert "24.0 false alarms per image at a confidence of 0.25, where the reference has 0.5" in verdict(result)
    running = replace(result, chosen=None, best=SMALL)
    assert "agreement 0.08, 96.0 false alarms per image" in verdict(running)
