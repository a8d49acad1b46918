"""The view in the URL: a link opens it again, nonsense is dropped."""

import pytest

from qviz.ui.view import View, _from_query, to_query

SAID = View(
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


def test_a_view_comes_back_from_its_url() -> None:
    assert View(**_from_query(to_query(SAID))) == SAID


def test_the_usual_view_leaves_the_url_clean() -> None:
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
def test_nonsense_is_dropped(query: dict[str, str]) -> None:
    assert _from_query(query) == {}
