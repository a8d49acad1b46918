"""The Calibration tab: explains missing inputs, continues across page switches, and shows its result."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT

LIMIT = 150


@pytest.fixture(scope="module")
def app() -> AppTest:
    """The sample with its reference and six of its images."""
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    workspace = opened.session_state["qviz_workspace"]
    opened.session_state["qviz_workspace"] = replace(
        workspace, images=workspace.images[:6], models=workspace.models[:1], dataset=None
    )
    opened.switch_page("pages/variants.py")
    return opened.run()


def _verdicts(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html") if "qviz-verdict" in block.proto.body)


def _notes(app: AppTest) -> str:
    return " ".join(block.proto.body for block in app.get("html") if "qviz-note" in block.proto.body)


def test_missing_images_are_explained(app: AppTest) -> None:
    assert "Find out how many images calibration needs" in _verdicts(app)
    app.segmented_control(key="lab-images").set_value("Other images").run()
    assert "Choose calibration images first" in " ".join(item.value for item in app.text)
    assert app.button(key="lab-start").disabled


def test_the_computation_continues_while_another_page_is_open(app: AppTest) -> None:
    app.segmented_control(key="lab-images").set_value("Loaded images").run()
    reference = app.selectbox(key="lab-source").options[-1]
    assert reference == "6 images, reference as truth"
    app.selectbox(key="lab-source").select_index(1).run()
    assert "Half of the loaded images calibrate" in _notes(app)
    app.number_input(key="lab-draws").set_value(1).run()
    app.button(key="lab-start").click().run()
    assert "Trying calibrations of" in _verdicts(app)
    app.switch_page("pages/report.py")
    app.run()
    app.switch_page("pages/variants.py")
    app.run()
    assert app.number_input(key="lab-draws").value == 1
    end = time.monotonic() + LIMIT
    while "Calibrated on all 3 images" not in _verdicts(app) and time.monotonic() < end:
        time.sleep(1.0)  # a run of the page takes as much of the processor as the work that it waits for
        app.run()
    assert not app.exception and not app.error
    assert "Calibrated on all 3 images, int8" in _verdicts(app)
    assert "Lost beyond a correct calibration, in points of agreement" in _notes(app)
    headings = [item.value for item in app.subheader]
    assert "How many images" in headings and "Are the ranges stable?" in headings
    named = {name for frame in app.dataframe for name in frame.value.get("calibration", [])}
    assert {"random numbers in [0, 1)", "all images", "percentile ranges"} <= named
