"""docs/heads.md states which decoder reads which outputs; this is the same statement."""

from __future__ import annotations

import pytest

from qviz.decoders import DECODERS, choose, fitting
from tests.conftest import ROOT
from tests.decoders.matrix import CASES, heads, table


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_at_most_one_decoder_claims_outputs_or_the_choice_is_stated(case) -> None:  # type: ignore[no-untyped-def]
    names = fitting(case.graph)
    assert names, "no decoder reads it"
    assert (len(names) > 1) == bool(case.choice), names
    assert choose(case.graph, None)[0] == names[0]


def test_every_decoder_has_a_row() -> None:
    assert {name for case in CASES for name in fitting(case.graph)} == set(DECODERS) - {"mediapipe"}  # needs a file


def test_the_documentation_has_these_tables() -> None:
    text = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
    assert heads() in text and table() in text, "python -m tests.decoders.matrix prints them"
