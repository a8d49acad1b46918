"""Figures and names as they are written."""

from __future__ import annotations

import pytest

from qviz.formatting import score, score_difference, shortened, signed_score

NAME = "FeatureExtractor/MobilenetV2/expanded_conv_13/depthwise"


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 32, len(NAME) - 1])
def test_a_name_is_cut_in_the_middle(limit: int) -> None:
    text = shortened(NAME, limit)
    start, end = text.split("…")
    assert len(text) == limit
    assert NAME.startswith(start) and NAME.endswith(end) and len(end) >= len(start)


def test_a_short_name_is_whole() -> None:
    assert shortened(NAME, len(NAME)) == NAME


@pytest.mark.parametrize(("value", "base"), [(0.405, 0.954), (0.624, 0.5549), (0.945, 1.0), (0.5, 0.4951)])
def test_a_difference_agrees_with_the_figures_beside_it(value: float, base: float) -> None:
    shown = score_difference(value, base)
    assert shown is not None
    assert float(signed_score(shown)) == pytest.approx(float(score(value)) - float(score(base)))
    assert score_difference(None, base) is None and score_difference(value, None) is None
