"""The view in the URL: a link restores it, invalid values are ignored."""

import pytest

from qviz.ui.view import View, _from_query, to_query

FULL_VIEW = View(
    0.4,
    "street.jpg",
    ("int8", "float16"),
    ("lost", "spurious"),
    (0, 17),
    "swipe",
    True,
    True,
    "int8:36",
    "scenes",
    "person",
)


def test_a_view_is_restored_from_its_url() -> None:
    assert View(**_from_query(to_query(FULL_VIEW))) == FULL_VIEW


def test_default_values_are_not_in_the_url() -> None:
    assert to_query(View()) == {}


@pytest.mark.parametrize(
    "query",
    [
        {"score": "nan"},
        {"score": "-1"},
        {"score": "<script>"},
        {"change": "exploded"},
        {"class": "-3,x"},
        {"mode": "sideways"},
        {"truth": "maybe"},
        {"image": ""},
    ],
)
def test_invalid_values_are_ignored(query: dict[str, str]) -> None:
    assert _from_query(query) == {}
