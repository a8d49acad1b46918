"""Rescue from the Variants page: it continues while another page is open, and adds its model to the session."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from qviz.datasets.files import load_images
from qviz.features.detection.models import ModelSource
from qviz.ui.view import KEY, View
from tests.conftest import ROOT, Sample
from tests.features.layer_error.small_detector import PLANTED, SETTINGS, small_detector

LIMIT = 150


@pytest.fixture(scope="module")
def app(sample: Sample) -> AppTest:
    """The dashboard with the small detector that int8 damages, and photographs without annotations."""
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    images = tuple(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:20]))
    model = ModelSource("small.tflite", small_detector(), settings=SETTINGS)
    session = opened.session_state["qviz_workspace"]
    opened.session_state["qviz_workspace"] = replace(
        session, models=(model,), images=images, dataset=None, is_sample=False, reference=None
    )
    opened.switch_page("pages/variants.py")
    return opened.run()


def _verdicts(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html") if "qviz-verdict" in block.proto.body)


def _until(app: AppTest, sentence: str) -> None:
    end = time.monotonic() + LIMIT
    while sentence not in _verdicts(app) and time.monotonic() < end:
        time.sleep(1.0)  # a run of the page takes as much of the processor as the work that it waits for
        app.run()
    assert not app.exception and not app.error
    assert sentence in _verdicts(app)


def test_too_few_images_are_explained(app: AppTest) -> None:
    app.number_input(key="rescue-images-20").set_value(3).run()
    assert any("At least 8 images are needed" in text.value for text in app.text)
    assert app.button(key="rescue-start").disabled
    app.number_input(key="rescue-images-20").set_value(20).run()
    assert not app.button(key="rescue-start").disabled


def test_limits_of_the_file_belong_to_a_search_in_integers(app: AppTest) -> None:
    assert not [field for field in app.text_input if field.key == "rescue-size"]
    app.toggle(key="rescue-integers").set_value(True).run()
    app.text_input(key="rescue-size").set_value("2 MB").run()
    assert any("'2 MB' is not a size of a file" in text.value for text in app.text)
    app.text_input(key="rescue-size").set_value("1.02x").run()
    assert not app.button(key="rescue-start").disabled
    app.toggle(key="rescue-integers").set_value(False).run()


@pytest.mark.parametrize("installed", [False, True])
def test_cycles_on_an_npu_need_vela(app: AppTest, installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Vela, its install command stands where the accelerator is chosen."""
    missing = {"vela": () if installed else ("ethosu",)}
    monkeypatch.setattr("qviz.optional.missing_modules", lambda name: missing.get(name, ()))
    app.toggle(key="rescue-integers").set_value(True).run()
    choices = [field for field in app.selectbox if field.key == "rescue-npu"]
    assert len(choices) == installed
    assert any("vela" in caption.value for caption in app.caption) is not installed
    if installed:
        choices[0].set_value("ethos-u55-256").run()
        app.number_input(key="rescue-cycles").set_value(5_000_000).run()
        assert not app.exception and not app.error
        assert not app.button(key="rescue-start").disabled
        app.selectbox(key="rescue-npu").set_value("").run()
    app.toggle(key="rescue-integers").set_value(False).run()


def test_a_search_continues_while_another_page_is_open(app: AppTest) -> None:
    app.number_input(key="rescue-limit-agreement").set_value(0.8).run()
    app.multiselect(key="rescue-recipes").set_value(["int8"]).run()
    app.button(key="rescue-start").click().run()
    app.switch_page("app.py").run()
    app.switch_page("pages/variants.py").run()
    _until(app, f", {PLANTED} float is within the budget")
    _until(app, "on 10 other images")
    table = next(frame.value for frame in app.dataframe if "candidate" in frame.value)
    assert table["candidate"].iloc[0] == "int8" and table["budget"].iloc[0] == "over"
    assert "kept" in set(table["budget"])
    contributions = next(frame.value for frame in app.dataframe if "without" in frame.value)
    assert contributions["without"].iloc[0] == "float" and contributions["1 − agreement"].iloc[0] > 0.2
    assert f"--keep-operators {PLANTED} " in app.code[0].value
    assert [button.label.split(",")[0] for button in app.get("download_button")] == [
        "Download it",
        "Its recipe as JSON",
        "Download as one file",  # the project
    ]


def test_the_rescued_model_is_added_to_the_session(app: AppTest) -> None:
    (button,) = [button for button in app.button if button.label == "Add to the session"]
    button.click().run()
    names = [source.name for source in app.session_state["qviz_workspace"].models]
    assert names == ["small.tflite", "small + int8 (rescued).tflite"]
    assert [button.disabled for button in app.button if button.label == "Added to the session"] == [True]
    assert not app.exception


def test_keeping_a_layer_in_float_adds_a_variant() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    session = app.session_state["qviz_workspace"]
    app.session_state["qviz_workspace"] = replace(
        session, models=session.models[:2], images=session.images[:2], is_sample=False, dataset=None
    )
    app.session_state[KEY] = View(layer="int8:4")
    app.switch_page("pages/layers.py").run()
    end = time.monotonic() + LIMIT
    while not any(button.key == "keep-float" for button in app.button) and time.monotonic() < end:
        time.sleep(1.0)  # a run of the page takes as much of the processor as the work that it waits for
        app.run()
    app.button(key="keep-float").click().run()
    while "(3 float).tflite is loaded" not in _notes(app) and time.monotonic() < end:
        time.sleep(1.0)  # a run of the page takes as much of the processor as the work that it waits for
        app.run()
    assert not app.exception
    assert "Ranges from 2 images" in _notes(app)
    assert len(_models(app)) == 3 and " float).tflite" in _models(app)[2], _models(app)


def _notes(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html") if "qviz-note" in block.proto.body)


def _models(app: AppTest) -> list[str]:
    return [source.name for source in app.session_state["qviz_workspace"].models]
