"""Sentences of a diagnosis at the edges: a share of nothing is not a gain."""

from __future__ import annotations

import pytest

from qviz.features.diagnosis.result import Cause, Evidence
from qviz.features.diagnosis.text import brings_back, figure_text


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (0.82, "82% comes back [70, 89]"),
        (0.002, "nothing comes back [70, 89]"),
        (-0.2, "nothing comes back [70, 89]"),
        (None, "not measured"),
    ],
)
def test_what_comes_back(share: float | None, sentence: str) -> None:
    assert brings_back(Cause("weights", "operator 3", "", (3,), share, 0.7, 0.89)) == sentence


def test_a_negative_figure_is_nothing() -> None:
    figure = "comes back in float with the variant's own weights"
    assert figure_text(Evidence(figure, -1.65, "%", "operator 3")) == f"nothing {figure}, operator 3"
    assert figure_text(Evidence(figure, 41.27, "%", "operator 3")) == f"41.3 % {figure}, operator 3"
    assert figure_text(Evidence("lowest local SQNR", -1.65, "dB", "operator 3")).startswith("-1.65 dB lowest")
