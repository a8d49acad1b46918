"""The view in the address: a link restores it, each page has its own parameters, invalid values are named."""

import pytest
from streamlit.testing.v1 import AppTest

from qviz.ui.view import PARAMETERS, View, from_query, to_query
from tests.conftest import ROOT

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
    "v0:3:-1",
    True,
    "exposure:-1.5",
    "scenes|12|night|1,3|int8",
)
PAGES = sorted({page for row in PARAMETERS for page in row.pages.split()})


def test_the_addresses_of_all_pages_restore_a_view() -> None:
    values = {}
    for page in PAGES:
        query = to_query(FULL_VIEW, page)
        fields, remarks = from_query(query, page)
        assert remarks == ()
        values |= fields
    assert View(**values) == FULL_VIEW


@pytest.mark.parametrize("page", [*PAGES, "Glossary"])
def test_default_values_are_not_in_the_address(page: str) -> None:
    assert to_query(View(), page) == {}


def test_a_page_has_its_own_parameters_alone() -> None:
    assert set(to_query(FULL_VIEW, "Layers")) == {"score", "image", "variant", "layer"}
    assert to_query(FULL_VIEW, "Glossary") == {}
    assert from_query({"layer": "int8:36", "label": "dog", "image": "a.jpg"}, "Compare") == ({"image": "a.jpg"}, ())


@pytest.mark.parametrize(
    ("query", "page"),
    [
        ({"score": "nan"}, "Compare"),
        ({"score": "-1"}, "Compare"),
        ({"score": "<script>"}, "Overview"),
        ({"change": "exploded"}, "Compare"),
        ({"class": "-3,x"}, "Compare"),
        ({"class": "9" * 40}, "Compare"),
        ({"mode": "sideways"}, "Compare"),
        ({"truth": "maybe"}, "Compare"),
        ({"object": "v0:1"}, "Compare"),
        ({"light": "exposure"}, "Robustness"),
        ({"light": "exposure:" + "9" * 400}, "Robustness"),
    ],
)
def test_invalid_values_are_named_and_ignored(query: dict[str, str], page: str) -> None:
    values, (remark,) = from_query(query, page)
    assert values == {}
    name, text = next(iter(query.items()))
    assert remark.startswith(f"The address has {name}={text[:40]}, which is not ") and len(remark) < 200
    assert from_query({name: ""}, page) == ({}, ())


@pytest.fixture(scope="module")
def app() -> AppTest:
    running = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    return running.switch_page("pages/glossary.py").run()


def _warnings(app: AppTest) -> list[str]:
    return [warning.value.replace("\\", "") for warning in app.warning]


def test_what_the_address_leaves_out_has_its_default_on_the_same_page(app: AppTest) -> None:
    """So the browser's Back undoes a change."""
    app.switch_page("pages/variants.py")
    app.query_params["tab"] = "Train"
    app.query_params["score"] = "0.40"
    app.run()
    assert app.session_state["qviz_view"].tabs == {"Variants": "Train"}
    app.query_params.clear()
    app.run()
    assert app.session_state["qviz_view"] == View()


def test_unknown_tabs_and_wrong_values_are_named(app: AppTest) -> None:
    app.query_params["tab"] = "Magic"
    app.query_params["score"] = "7"
    app.run()
    assert _warnings(app) == [
        "The address has score=7, which is not a confidence from 0.05 to 0.95; it is ignored.",
        "The address names the tab Magic, which this page does not have.",
    ]
    app.query_params.clear()
    app.switch_page("pages/glossary.py").run()
    assert _warnings(app) == []


def _score_page() -> None:
    import streamlit as st

    from qviz.ui import view

    view.current("Compare")
    if score := st.session_state.pop("chosen", None):
        view.change(score=score)


def test_an_address_that_was_just_replaced_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was requested before the browser knew the newer address brings the older one."""
    app = AppTest.from_function(_score_page).run()
    for score in (0.4, 0.5):
        app.session_state["chosen"] = score
        app.run()
    app.query_params["score"] = "0.40"
    app.run()
    assert app.session_state["qviz_view"].score == 0.5
    assert app.query_params["score"] in ("0.50", ["0.50"])
    monkeypatch.setattr("qviz.ui.view.OLDER_SECONDS", 0.0)  # later, the same address is a link
    app.query_params["score"] = "0.40"
    app.run()
    assert app.session_state["qviz_view"].score == 0.4
