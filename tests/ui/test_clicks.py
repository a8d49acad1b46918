"""A click is heeded once, also where the run that it started is left before it comes to the button."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator

from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT


def page() -> None:
    import streamlit as st

    from qviz.ui import clicks

    said = st.session_state
    said.setdefault("acted", 0)
    if said.pop("overtaken", False):
        st.rerun()  # as where a newer run waits

    def act() -> None:
        if said.pop("cut", False):
            st.rerun()  # the newer run comes in the midst of it
        if said.get("broken"):
            raise ValueError("broken")
        said.acted += 1

    then = st.rerun if said.get("again") else None
    clicks.button(st, said.get("label", "Go"), act, "go", then, disabled=said.get("disabled", False))
    if st.button("Plain", key="plain"):
        said.taken = True


def opened(**said: object) -> AppTest:
    app = AppTest.from_function(page).run()
    for key, value in said.items():
        app.session_state[key] = value
    return app


def acted(app: AppTest, click: Callable[[], AppTest]) -> int:
    click().run()
    app.run()  # and not again
    assert not app.exception or app.session_state["broken"]
    return int(app.session_state["acted"])


def test_a_click_acts_once() -> None:
    app = opened()
    assert acted(app, app.button(key="go").click) == 1
    assert acted(app, app.button(key="go").click) == 2


def test_it_acts_in_the_run_that_overtakes_its_own() -> None:
    app = opened(overtaken=True)
    assert acted(app, app.button(key="go").click) == 1
    app = opened(cut=True)
    assert acted(app, app.button(key="go").click) == 1


def test_a_plain_button_would_lose_it() -> None:
    app = opened(overtaken=True)
    app.button(key="plain").click().run()
    assert "taken" not in app.session_state


def test_the_script_is_left_after_it() -> None:
    app = opened(again=True)
    assert acted(app, app.button(key="go").click) == 1


def test_another_label_is_the_same_button() -> None:
    app = opened(label="Go on")
    assert acted(app, app.button(key="go").click) == 1


def test_a_button_that_is_disabled_by_now_does_nothing() -> None:
    app = opened(disabled=True)
    assert acted(app, app.button(key="go").click) == 0
    app.session_state["disabled"] = False
    app.run()
    assert app.session_state["acted"] == 0


def test_a_click_of_long_ago_is_forgotten() -> None:
    app = opened()
    app.session_state["go-clicked"].append(time.monotonic() - 60)
    app.run()
    assert (app.session_state["acted"], app.session_state["go-clicked"]) == (0, [])
    assert acted(app, app.button(key="go").click) == 1


def test_what_fails_is_not_tried_again_by_itself() -> None:
    app = opened(broken=True)
    app.button(key="go").click().run()
    assert app.exception
    app.session_state["broken"] = False
    app.run()
    assert (len(app.exception), app.session_state["acted"]) == (0, 0)


def buttons() -> Iterator[tuple[str, set[str | None], str]]:
    """Where a button is drawn, what is said of it, and by what."""
    for path in (*(ROOT / "qviz" / "ui").glob("*.py"), *(ROOT / "pages").glob("*.py"), ROOT / "app.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".button"):
                yield f"{path.name}:{node.lineno}", {word.arg for word in node.keywords}, ast.unparse(node.func)


def test_no_other_button_waits_for_its_value() -> None:
    """Those that are left only set a flag of a job, or close what is shown, by a callback."""
    assert [p for p, said, by in buttons() if by != "clicks.button" and not {"key", "on_click"} <= said] == []
