"""The Pareto front: ties, unknown quality, latency differences within noise; and the sentence on the gain."""

from __future__ import annotations

import pytest

from qviz.features.cost.text import tradeoff_verdict
from qviz.features.cost.tradeoff import Point, dominates, tradeoff

BASE = Point("float32", 18_000_000, 20.0, 1.0)
INT8 = Point("int8", 5_000_000, 10.0, 0.87)

PAIRS = [
    (INT8, Point("slower", 5_000_000, 12.0, 0.87), True),
    (INT8, Point("larger", 6_000_000, 10.0, 0.87), True),
    (INT8, Point("worse", 5_000_000, 10.0, 0.5), True),
    (INT8, Point("worse in all", 6_000_000, 12.0, 0.5), True),
    (INT8, INT8, False),  # equals
    (INT8, BASE, False),  # each is better in something
    (BASE, INT8, False),
    (INT8, Point("noise of the clock", 5_000_000, 9.7, 0.5), True),  # a difference of 3 % counts as equal
    (INT8, Point("really faster", 5_000_000, 9.0, 0.5), False),
    (INT8, Point("another name in the header", 4_999_900, 10.0, 0.5), True),  # both are shown as 5.00 MB
    (INT8, Point("as good as shown", 6_000_000, 10.0, 0.8702), True),
    (INT8, Point("unknown", 9_000_000, 90.0, None), False),
    (Point("unknown", 1, 0.1, None), INT8, False),
    (Point("partly", 4_000_000, 5.0, 0.9, cpu_operators=3), INT8, False),  # its time on the CPU is not counted
    (Point("whole", 4_000_000, 5.0, 0.9), Point("partly slower", 5_000_000, 10.0, 0.87, cpu_operators=3), True),
]


@pytest.mark.parametrize(("first", "second", "expected"), PAIRS, ids=[second.name for _, second, _ in PAIRS])
def test_domination(first: Point, second: Point, expected: bool) -> None:
    assert dominates(first, second) is expected
    assert not (expected and dominates(second, first))


def test_the_front_is_sorted_by_latency() -> None:
    slow, twin, blind = (
        Point("slow", 5_000_000, 30.0, 0.87),
        Point("twin", 5_000_000, 10.0, 0.87),
        Point("?", 1, 1, None),
    )
    result = tradeoff([BASE, slow, INT8, twin, blind])
    assert [point.name for point in result.front] == ["int8", "twin", "float32"]
    assert result.dominated_by("slow") == ("int8", "twin")
    assert [result.dominated_by(name) for name in ("float32", "int8", "twin", "?")] == [()] * 4


@pytest.mark.parametrize("count", [0, 1])
def test_a_front_of_one_or_two_points(count: int) -> None:
    assert tradeoff([INT8][:count]).front == (INT8,) * count


def test_points_of_different_metrics_are_not_compared() -> None:
    with pytest.raises(ValueError, match="AP, agreement"):
        tradeoff([BASE, Point("int8", 1, 1.0, 0.3, "AP")])


VERDICTS = [
    ([BASE, INT8], "int8 is 3.6× smaller and 2.0× faster than float32 at agreement 0.87."),
    (
        [BASE, INT8, Point("wrong", 5_000_000, 10.1, 0.1), Point("f16", 18_000_000, 20.1, 0.9)],
        "int8 is 3.6× smaller and 2.0× faster than float32 at agreement 0.87. wrong and f16 are dominated.",
    ),
    (
        [BASE, Point("f16", 9_000_000, 20.2, 1.0)],
        "f16 is 2.0× smaller than and about as fast as float32 at agreement 1.00. float32 is dominated"
        " by f16.",
    ),
    ([BASE, Point("dr", 5_000_000, 30.0, 0.99)], "dr is 3.6× smaller and 1.5× slower than float32 at agreement 0.99."),
    (
        [BASE, Point("wrong", 5_000_000, 10.0, 0.1)],
        "wrong is 3.6× smaller and 2.0× faster than float32 at agreement 0.10; no smaller or faster variant keeps 80%"
        " of float32's agreement.",
    ),
    (
        [BASE, Point("new", 5_000_000, 10.0, None)],
        "new is 3.6× smaller and 2.0× faster than float32, its agreement unknown.",
    ),
    ([BASE], "float32 takes 20.0 ms per run. Add a quantized variant to compare."),
    ([INT8], "float32 was not measured; int8 is the fastest, 10.0 ms per run at agreement 0.87."),
]  # fmt: skip


@pytest.mark.parametrize(("points", "sentence"), VERDICTS)
def test_the_sentence(points: list[Point], sentence: str) -> None:
    assert tradeoff_verdict(tradeoff(points), "float32") == sentence


def test_the_sentence_gives_ap_in_points() -> None:
    base, int8 = Point("r", 8_000_000, 20.0, 0.4, "AP"), Point("v", 2_000_000, 10.0, 0.352, "AP")
    assert tradeoff_verdict(tradeoff([base, int8]), "r") == "v is 4.0× smaller and 2.0× faster than r at AP 35.2."
