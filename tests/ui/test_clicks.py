"""A click acts exactly once, even if its script run is interrupted before it reaches the button."""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Iterator

from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT


def page() -> None:
    import streamlit as st

    from qviz.ui import clicks

    state = st.session_state
    state.setdefault("acted", 0)
    if state.pop("overtaken", False):
        st.rerun()  # as Streamlit does when a newer run is waiting

    def act() -> None:
        if state.pop("cut", False):
            st.rerun()  # a newer run begins during the action
        if state.get("broken"):
            raise ValueError("broken")
        state.acted += 1

    then = st.rerun if state.get("again") else None
    clicks.button(st, state.get("label", "Go"), act, "go", then, disabled=state.get("disabled", False))
    if st.button("Plain", key="plain"):
        state.plain_clicked = True


def opened(**state: object) -> AppTest:
    app = AppTest.from_function(page).run()
    for key, value in state.items():
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


def test_a_click_acts_in_the_run_that_replaces_its_own() -> None:
    app = opened(overtaken=True)
    assert acted(app, app.button(key="go").click) == 1
    app = opened(cut=True)
    assert acted(app, app.button(key="go").click) == 1


def test_a_plain_button_loses_the_click() -> None:
    app = opened(overtaken=True)
    app.button(key="plain").click().run()
    assert "plain_clicked" not in app.session_state


def test_the_script_can_rerun_after_the_click() -> None:
    app = opened(again=True)
    assert acted(app, app.button(key="go").click) == 1


def test_a_changed_label_is_the_same_button() -> None:
    app = opened(label="Go on")
    assert acted(app, app.button(key="go").click) == 1


def test_a_click_on_a_button_disabled_meanwhile_is_ignored() -> None:
    app = opened(disabled=True)
    assert acted(app, app.button(key="go").click) == 0
    app.session_state["disabled"] = False
    app.run()
    assert app.session_state["acted"] == 0


def test_an_old_click_is_forgotten() -> None:
    app = opened()
    app.session_state["go-clicked"].append(time.monotonic() - 60)
    app.run()
    assert (app.session_state["acted"], app.session_state["go-clicked"]) == (0, [])
    assert acted(app, app.button(key="go").click) == 1


def test_a_failed_action_is_not_repeated() -> None:
    app = opened(broken=True)
    app.button(key="go").click().run()
    assert app.exception
    app.session_state["broken"] = False
    app.run()
    assert (len(app.exception), app.session_state["acted"]) == (0, 0)


def buttons() -> Iterator[tuple[str, set[str | None], str]]:
    """(position, keyword arguments, function) of every button in the source."""
    for path in (*(ROOT / "qviz" / "ui").glob("*.py"), *(ROOT / "pages").glob("*.py"), ROOT / "app.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".button"):
                yield f"{path.name}:{node.lineno}", {word.arg for word in node.keywords}, ast.unparse(node.func)


def test_every_button_uses_clicks_or_a_callback() -> None:
    """The remaining buttons only set a flag of a job, or close a view, by a callback."""
    assert [p for p, arguments, by in buttons() if by != "clicks.button" and not {"key", "on_click"} <= arguments] == []
