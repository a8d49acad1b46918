"""Sets of operators: as text, as contiguous parts of a graph, and the search for the smallest."""

from __future__ import annotations

import pytest

from qviz.errors import SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if.sets import blocks, ends, smallest, with_conversions
from qviz.structures.operators import orders_text, parse_orders

TEXTS = [("0-3,7", {0, 1, 2, 3, 7}), ("5", {5}), (" 2 , 1", {1, 2}), ("4-4", {4})]


@pytest.mark.parametrize(("text", "orders"), TEXTS)
def test_operator_lists_as_text(text: str, orders: set[int]) -> None:
    assert parse_orders(text) == orders
    assert parse_orders(orders_text(orders)) == orders


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "1,,2", "1.5", "0-99999999", "²"])
def test_invalid_operator_lists_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="operators"):
        parse_orders(text)


def test_an_operator_beyond_the_limit_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="There is no operator 99999: "):
        parse_orders("99999")


def test_blocks_partition_the_operators(loaded: dict[str, LoadedModel]) -> None:
    for name in ("float32", "int8", "float16"):
        graph = loaded[name].inspection.graph
        sets = blocks(graph)
        assert sorted(order for block in sets for order in block) == list(range(len(graph.ops)))
        assert 3 <= len(sets) <= 30


def test_prefixes_and_suffixes_are_neither_empty_nor_whole() -> None:
    for count in (1, 2, 5, 100):
        for sets in ends(list(range(count))):
            assert all(0 < len(orders) < count for orders in sets)


def test_conversions_are_part_of_a_set(loaded: dict[str, LoadedModel]) -> None:
    graph = loaded["int8"].inspection.graph
    assert with_conversions(graph, frozenset({1})) == {0, 1}  # the input's QUANTIZE
    assert with_conversions(graph, frozenset({6})) == {6, 7}  # DEQUANTIZE for an ADD_N in float
    assert with_conversions(graph, frozenset({2})) == {2}


@pytest.mark.parametrize("needed", [{0}, {99}, {3, 4, 5}, {10, 60}, {0, 50, 99}])
def test_the_smallest_set_that_suffices(needed: set[int]) -> None:
    tried = []

    def reaches(orders: frozenset[int]) -> bool:
        tried.append(orders)
        return needed <= orders

    assert smallest(list(range(100)), reaches, 500) == needed
    tried.clear()
    result = smallest(list(range(100)), reaches, 40)
    assert needed <= result and len(tried) <= 40


def test_the_search_from_the_end_stops_once_it_cannot_be_shorter() -> None:
    tried: list[frozenset[int]] = []

    def reaches(orders: frozenset[int]) -> bool:
        tried.append(orders)
        return {3, 4, 5} <= orders

    assert smallest(list(range(1000)), reaches, 500) == {3, 4, 5}
    assert len(tried) < 45, "four whole bisections alone are 40"
