"""Normal numbers are drawn once per image for all severities and equal those of the generator."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.corruptions import blocks
from qviz.corruptions.blocks import Normals

SHAPE = (9, 5, 3)


@pytest.mark.parametrize("max_cached", [0, 1 << 20])
def test_numbers_equal_those_of_the_generator(max_cached: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CACHED", max_cached)
    expected, plain = np.random.default_rng(3), np.random.default_rng(3)
    whole = expected.standard_normal(SHAPE, dtype=np.float32)
    follows = expected.random()
    for _ in range(2):  # drawn, then from the cache
        rng = np.random.default_rng(3)
        normals = Normals(rng, SHAPE)
        rows = [normals.rows(slice(start, start + 4)) for start in (0, 4, 8)]
        assert np.array_equal(np.concatenate(rows), whole)
        assert rng.random() == follows
    assert not np.array_equal(Normals(plain, (9, 5, 1)).rows(slice(0, 9)), whole[..., :1])


def test_another_generator_state_gives_other_numbers() -> None:
    first = Normals(np.random.default_rng(1), SHAPE).rows(slice(None))
    assert not np.array_equal(Normals(np.random.default_rng(2), SHAPE).rows(slice(None)), first)


def test_cached_numbers_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Normals(np.random.default_rng(1), SHAPE).rows(slice(None))[0] = 0
