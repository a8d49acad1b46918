"""Training from the Variants page: missing inputs are explained beforehand; the trained model joins the session."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from qviz.features.detection.models import ModelSource
from tests.conftest import ROOT

LIMIT = 240


@pytest.fixture
def app(tiny_detector: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """A tiny detector and the sample's images."""
    monkeypatch.setenv("QVIZ_CACHE", str(tmp_path_factory.mktemp("cache")))
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    session = opened.session_state["qviz_workspace"]
    models = (ModelSource("tiny.tflite", tiny_detector.read_bytes()),)
    opened.session_state["qviz_workspace"] = replace(
        session, models=models, images=session.images[:12], is_sample=False
    )
    opened.switch_page("pages/variants.py")
    return opened.run()


def _loaded(app: AppTest) -> list[str]:
    return [source.name for source in app.session_state["qviz_workspace"].models]


def _texts(app: AppTest) -> str:
    return " ".join(item.value for item in app.text)


def test_the_trained_model_is_added_to_the_session(app: AppTest) -> None:
    app.segmented_control(key="train-images").set_value("Other images").run()
    assert "Choose training images first: at least 10" in _texts(app)
    assert app.button(key="train-start").disabled
    app.segmented_control(key="train-images").set_value("Loaded images").run()
    app.segmented_control(key="train-steps").set_value(60).run()
    app.button(key="train-start").click().run()
    end = time.monotonic() + LIMIT
    while len(_loaded(app)) < 2 and time.monotonic() < end:
        time.sleep(1.0)  # a run of the page takes as much of the processor as the work that it waits for
        app.run()
    assert not app.exception and not app.error
    assert _loaded(app) == ["tiny.tflite", "tiny + dynamic_range_int4 trained.tflite"]
    verdicts = " ".join(block.proto.body for block in app.get("html") if "qviz-verdict" in block.proto.body)
    assert "agreement with FP32" in verdicts
    assert "Download the file" in [button.label for button in app.get("download_button")]
