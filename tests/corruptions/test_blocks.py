"""Normal numbers are drawn once for all severities of a picture, and are what the generator would have given."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.corruptions import blocks
from qviz.corruptions.blocks import Normals

SHAPE = (9, 5, 3)


@pytest.mark.parametrize("most", [0, 1 << 20])
def test_they_are_the_generators_own(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CACHED", most)
    expected, plain = np.random.default_rng(3), np.random.default_rng(3)
    whole = expected.standard_normal(SHAPE, dtype=np.float32)
    follows = expected.random()
    for _ in range(2):  # drawn, then kept
        rng = np.random.default_rng(3)
        found = Normals(rng, SHAPE)
        rows = [found.rows(slice(start, start + 4)) for start in (0, 4, 8)]
        assert np.array_equal(np.concatenate(rows), whole)
        assert rng.random() == follows
    assert not np.array_equal(Normals(plain, (9, 5, 1)).rows(slice(0, 9)), whole[..., :1])


def test_another_state_draws_anew() -> None:
    first = Normals(np.random.default_rng(1), SHAPE).rows(slice(None))
    assert not np.array_equal(Normals(np.random.default_rng(2), SHAPE).rows(slice(None)), first)


def test_nobody_can_change_what_is_kept() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Normals(np.random.default_rng(1), SHAPE).rows(slice(None))[0] = 0
