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


def chosen_page() -> None:
    import streamlit as st

    from qviz.ui import clicks

    state = st.session_state
    clicks.finish_callbacks(state.get("same_page", True))

    def act() -> None:
        if state.pop("cut", False):
            st.rerun()  # as Streamlit does when a newer run is waiting
        if state.get("broken"):
            raise ValueError("broken")
        state.acted = state.letter

    st.selectbox("Letter", ["a", "b"], key="letter", on_change=clicks.callback(act))


def choose(**state: object) -> AppTest:
    app = AppTest.from_function(chosen_page).run()
    for key, value in state.items():
        app.session_state[key] = value
    app.selectbox(key="letter").select("b").run()
    return app


def test_a_callback_that_was_cut_short_is_called_by_the_next_run() -> None:
    assert choose().session_state["acted"] == "b"
    assert choose(cut=True).session_state["acted"] == "b"


def test_a_callback_of_the_page_before_is_dropped() -> None:
    app = choose(cut=True, same_page=False)
    app.session_state["same_page"] = True
    app.run()
    assert "acted" not in app.session_state


def test_a_failed_callback_is_not_repeated() -> None:
    app = choose(broken=True)
    app.session_state["broken"] = False
    app.run()
    assert (len(app.exception), "acted" in app.session_state) == (0, False)


def part_that_runs_alone() -> None:
    import streamlit as st

    from qviz.ui import clicks

    state = st.session_state

    def act() -> None:
        if state.pop("cut", False):
            st.rerun()  # as Streamlit does when a newer run is waiting
        state.saved = state.letter

    @clicks.fragment()
    def part() -> None:
        state.letter = state.get("saved", "a")
        st.selectbox("Letter", ["a", "b"], key="letter", on_change=clicks.callback(act))

    part()  # without `finish_callbacks`, which a run of a part alone does not reach


def test_a_part_that_runs_alone_completes_a_callback_before_it_sets_its_widget() -> None:
    app = AppTest.from_function(part_that_runs_alone).run()
    app.session_state["cut"] = True
    app.selectbox(key="letter").select("b").run()
    assert (app.selectbox(key="letter").value, app.session_state["saved"]) == ("b", "b")


PAGES = (
    *(ROOT / "qviz" / "ui").rglob("*.py"),
    *(ROOT / "qviz" / "features").rglob("panel*.py"),
    *(ROOT / "pages").glob("*.py"),
    ROOT / "app.py",
)


def buttons() -> Iterator[tuple[str, set[str | None], str]]:
    """(position, keyword arguments, function) of every button in the source."""
    for path in PAGES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".button"):
                yield f"{path.name}:{node.lineno}", {word.arg for word in node.keywords}, ast.unparse(node.func)


def test_every_button_uses_clicks_or_a_callback() -> None:
    """The remaining buttons only set a flag of a job, or close a view, by a callback."""
    assert [p for p, arguments, by in buttons() if by != "clicks.button" and not {"key", "on_click"} <= arguments] == []


def test_every_callback_of_a_widget_survives_a_newer_run() -> None:
    """`on_change="rerun"` and a callback that Streamlit needs, but that does nothing, are safe as they are."""
    names, unsafe = ("on_change", "on_select"), []
    for path in PAGES:
        for node in ast.walk(ast.parse(path.read_text())):
            for word in node.keywords if isinstance(node, ast.Call) else ():
                text = ast.unparse(word.value)
                if word.arg in names and not text.startswith(("clicks.callback(", "'rerun'")):
                    unsafe.append(f"{path.name}:{node.lineno} {text}")
    assert unsafe == []
    direct = [path.name for path in PAGES if "st.fragment" in path.read_text().replace("`st.fragment`", "")]
    assert direct == ["clicks.py"]
    assert [str(path) for path in (ROOT / "qviz").rglob("*.js") if "setTriggerValue" in path.read_text()] == []
