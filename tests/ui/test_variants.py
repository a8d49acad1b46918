"""The Variants page measures costs on request and begins with what was gained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT

LIMIT = 150


def _sentences(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html") if "qviz-verdict" in block.proto.body)


@pytest.fixture(scope="module")
def app() -> AppTest:
    """The dashboard with two models and one image of the sample; the page is tested, not the detections."""
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    session = opened.session_state["qviz_workspace"]
    opened.session_state["qviz_workspace"] = replace(session, images=session.images[:1], models=session.models[:2])
    opened.switch_page("pages/variants.py")
    return opened.run()


def _until(app: AppTest, ready: Callable[[AppTest], object]) -> None:
    end = time.monotonic() + LIMIT
    while not ready(app) and time.monotonic() < end:
        time.sleep(1.0)
        app.run()
    assert not app.exception
    assert not app.error


def test_size_and_agreement_are_shown_before_the_click_and_nothing_is_measured(app: AppTest) -> None:
    _until(app, lambda app: not app.button(key="cost-start").disabled)
    assert "int8 is 3.4× smaller than float32 at agreement" in _sentences(app)
    table = app.dataframe[0].value
    assert list(table) == ["model", "scheme", "size, MB", "agreement"]
    assert table["size, MB"].tolist() == pytest.approx([18.0, 5.37], rel=0.01) and table["agreement"][0] == 1
    assert len(app.get("plotly_chart")) == 1


def test_measured_costs_have_a_verdict_charts_and_a_table(app: AppTest) -> None:
    app.segmented_control(key="cost-runs").set_value(20)
    _until(app, lambda app: not app.button(key="cost-start").disabled)  # wait for running detections
    app.button(key="cost-start").click().run()
    _until(app, lambda app: app.dataframe and "p50, ms" in app.dataframe[0].value)
    assert "× smaller" in _sentences(app)
    table = app.dataframe[0].value
    assert table["model"].iloc[0] == "float32"
    assert (table["p50, ms"] > 0).all() and (table["p50, ms"] <= table["p95, ms"]).all()
    assert table["agreement"][0] == 1
    assert len(app.get("plotly_chart")) == 2
    assert "Where the time goes" in [item.value for item in app.subheader]
    chosen = app.selectbox(key="cost-model")
    chosen.select(chosen.options[-1]).run()
    assert not app.exception
