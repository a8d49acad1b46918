"""The chart of a rescue: every candidate, the budget, the best candidate marked; markup in names is escaped."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.rescuing.plot import figure
from qviz.features.rescuing.result import (
    AGREEMENT,
    AP,
    LATENCY,
    Budget,
    Candidate,
    ImageCounts,
    ReferenceFile,
    Rescue,
    Tried,
)


def tried(recipe: str, size: int, loss: float | None, within: bool, speed: float | None = None) -> Tried:
    return Tried(Candidate(recipe), "recipe", size, search_loss=loss, within=within, speed=speed, agreement=0.9)


ROWS = (
    tried("int4", 2_000_000, 0.2, False, 0.5),
    tried("int8", 5_000_000, 0.01, True, 2.0),
    tried("<b>float16</b>", 9_000_000, 0.0, True, 1.0),
    tried("broken", 0, None, False),
)
RESULT = Rescue(
    ReferenceFile("<i>ref</i>.tflite", "d", 18_000_000), Budget(AP, 0.02), "size", ImageCounts(10, 10), ROWS, ROWS[1]
)


def traces(charted: Rescue) -> dict[str, object]:
    return {trace.name: trace for trace in figure(charted).data}


def test_size_against_loss() -> None:
    charted = traces(RESULT)
    assert (list(charted["over the budget"].x), list(charted["over the budget"].y)) == ([2.0], [20.0])  # type: ignore[attr-defined]
    assert (list(charted["within the budget"].x), list(charted["within the budget"].y)) == ([5.0, 9.0], [1.0, 0.0])  # type: ignore[attr-defined]
    assert list(charted["Pareto front"].x) == [2.0, 5.0, 9.0]  # type: ignore[attr-defined]
    assert list(charted["best so far"].x) == [5.0]  # type: ignore[attr-defined]
    assert list(charted["reference"].x) == [18.0]  # type: ignore[attr-defined]


def test_latency_against_agreement() -> None:
    charted = traces(replace(RESULT, prefer=LATENCY, budget=Budget(AGREEMENT, 0.02)))
    assert list(charted["within the budget"].x) == [0.5, 1.0]  # type: ignore[attr-defined]
    assert list(charted["within the budget"].y) == pytest.approx([0.01, 0.0])  # type: ignore[attr-defined]
    assert list(charted["reference"].x) == [1.0]  # type: ignore[attr-defined]


def test_names_stay_text() -> None:
    text = figure(RESULT).to_json()
    assert "<b>" not in text and "<i>" not in text


def test_chart_before_the_first_candidate() -> None:
    assert list(traces(replace(RESULT, tried=(), best=None))["Pareto front"].x or ()) == []  # type: ignore[attr-defined]
