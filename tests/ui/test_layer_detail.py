"""The panel of one layer shows the cause of its error and its figures; refusals are sentences."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from qviz.features.what_if import FloatSet

CASES = [
    ("int8_wrong_range", 0, "Clipping: "),
    ("int8", 4, "comes from earlier layers"),
    ("dynamic_range", 0, "No error: its output equals"),
]


def _page(name: str, order: int) -> None:
    from qviz.features.layer_error import panel_detail as layer_detail
    from qviz.ui import sample, server, view
    from qviz.ui.page import Page

    session = sample.sample()
    here = Page(session, server.models(session), view.View())
    layer_detail.show(here, here.models.variant_named(name), order, session.image_named("hens.jpg"))


def _settled(name: str, order: int) -> AppTest:
    app = AppTest.from_function(_page, default_timeout=60, args=(name, order)).run()
    end = time.monotonic() + 60
    while any(text.value.startswith("Still running") for text in app.text) and time.monotonic() < end:
        app.run()
    assert not app.exception
    return app


@pytest.mark.parametrize(("name", "order", "cause"), CASES)
def test_the_panel_begins_with_the_cause(name: str, order: int, cause: str) -> None:
    app = _settled(name, order)
    blocks = [block.proto.body for block in app.get("html")]
    assert any(cause in text and "qviz-verdict" in text for text in blocks)
    assert any(f"Operator {order} (" in text for text in blocks)
    app.segmented_control(key="layers-part").set_value("Figures").run()
    (table,) = [text for text in (block.proto.body for block in app.get("html")) if "qviz-figures" in text]
    rows = dict(re.findall("<th>(.*?)</th><td>(.*?)</td>", table))
    assert rows["FP32&#x27;s values"].count(" to ") == 1


def test_an_operator_that_is_not_a_layer_is_explained() -> None:
    app = _settled("int8", 7)
    assert any("Operator 7 (DEQUANTIZE) is not a layer" in text.value for text in app.text)
    assert not app.get("html")


def _offer(selected: tuple[int, ...]) -> None:
    import streamlit as st

    from qviz.features.layer_error import panel_actions
    from qviz.ui import sample, server, view
    from qviz.ui.page import Page

    session = sample.sample()
    here = Page(session, server.models(session), view.View())
    variant = here.models.variant_named("int8")
    panel_actions.offer_named(
        here, variant, selected, lambda order, orders: st.session_state.update(chosen=(order, orders))
    )


def test_operators_that_an_experiment_named_are_selected_by_one_click(monkeypatch: pytest.MonkeyPatch) -> None:
    named = FloatSet((3, 4, 5), "window", 0.9, None, 0.714, None, subject="operators 3-5")
    finished = SimpleNamespace(named=named)
    monkeypatch.setattr("qviz.features.what_if.panel.finished", lambda here, variant: finished)
    app = AppTest.from_function(_offer, default_timeout=60, args=((9,),)).run()
    assert not app.exception
    assert app.button(key="select-named").label == "Select operators 3-5: in float they bring back 71%"
    app.button(key="select-named").click().run()
    assert app.session_state["chosen"] == (3, (3, 4, 5))
    selected = AppTest.from_function(_offer, default_timeout=60, args=((3, 4, 5, 6),)).run()
    assert not selected.exception and not selected.button, "they are selected already"
