"""Figures and names as they are written."""

from __future__ import annotations

import pytest

from qviz.formatting import shortened

NAME = "FeatureExtractor/MobilenetV2/expanded_conv_13/depthwise"


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 32, len(NAME) - 1])
def test_a_name_is_cut_in_the_middle(limit: int) -> None:
    text = shortened(NAME, limit)
    start, end = text.split("…")
    assert len(text) == limit
    assert NAME.startswith(start) and NAME.endswith(end) and len(end) >= len(start)


def test_a_short_name_is_whole() -> None:
    assert shortened(NAME, len(NAME)) == NAME
