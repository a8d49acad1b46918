"""The picture of a rescue: every candidate at its place, the budget, the best one ringed; names stay text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.rescuing.plot import rescue_scatter
from qviz.features.rescuing.result import AGREEMENT, AP, LATENCY, Budget, Candidate, Rescue, Tried


def tried(recipe: str, size: int, loss: float | None, within: bool, speed: float | None = None) -> Tried:
    return Tried(Candidate(recipe), "recipe", size, search_loss=loss, within=within, speed=speed, agreement=0.9)


ROWS = (
    tried("int4", 2_000_000, 0.2, False, 0.5),
    tried("int8", 5_000_000, 0.01, True, 2.0),
    tried("<b>float16</b>", 9_000_000, 0.0, True, 1.0),
    tried("broken", 0, None, False),
)
FOUND = Rescue("<i>ref</i>.tflite", "d", 18_000_000, Budget(AP, 0.02), "size", 10, 10, ROWS, ROWS[1])


def traces(found: Rescue) -> dict[str, object]:
    return {trace.name: trace for trace in rescue_scatter(found).data}


def test_size_against_loss() -> None:
    found = traces(FOUND)
    assert (list(found["over the budget"].x), list(found["over the budget"].y)) == ([2.0], [20.0])  # type: ignore[attr-defined]
    assert (list(found["within the budget"].x), list(found["within the budget"].y)) == ([5.0, 9.0], [1.0, 0.0])  # type: ignore[attr-defined]
    assert list(found["Pareto front"].x) == [2.0, 5.0, 9.0]  # type: ignore[attr-defined]
    assert list(found["best so far"].x) == [5.0]  # type: ignore[attr-defined]
    assert list(found["reference"].x) == [18.0]  # type: ignore[attr-defined]


def test_latency_against_agreement() -> None:
    found = traces(replace(FOUND, prefer=LATENCY, budget=Budget(AGREEMENT, 0.02)))
    assert list(found["within the budget"].x) == [0.5, 1.0]  # type: ignore[attr-defined]
    assert list(found["within the budget"].y) == pytest.approx([0.01, 0.0])  # type: ignore[attr-defined]
    assert list(found["reference"].x) == [1.0]  # type: ignore[attr-defined]


def test_names_stay_text() -> None:
    text = rescue_scatter(FOUND).to_json()
    assert "<b>" not in text and "<i>" not in text


def test_nothing_tried_yet() -> None:
    assert list(traces(replace(FOUND, tried=(), best=None))["Pareto front"].x or ()) == []  # type: ignore[attr-defined]
