"""Every page runs on the sample without an exception and shows its content."""

from __future__ import annotations

import time

import pytest
from streamlit import config
from streamlit.testing.v1 import AppTest

from tests.conftest import ROOT

PAGES = {
    "app.py": "Worst images first",
    "pages/compare.py": "Confidence",
    "pages/diagnosis.py": None,  # a diagnosis takes longer than the timeout of the test
    "pages/layers.py": None,
    "pages/video.py": None,
    "pages/backends.py": None,
    "pages/report.py": None,
    "pages/accuracy.py": None,  # evaluation takes longer than the timeout of the test
}


@pytest.fixture(scope="module")
def app() -> AppTest:
    running = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    return running.run()


@pytest.mark.parametrize(("page", "heading"), PAGES.items())
def test_a_page_runs_on_the_sample(app: AppTest, page: str, heading: str | None) -> None:
    app.switch_page(page)
    app.run()
    assert not app.exception
    assert not app.error
    if heading is not None:
        end = time.monotonic() + 120  # results come from the workers
        while heading not in [item.value for item in app.subheader] and time.monotonic() < end:
            time.sleep(0.3)
            app.run()
        assert heading in [item.value for item in app.subheader]


def test_a_session_runs_one_script_at_a_time(app: AppTest) -> None:
    config.set_option("runner.fastReruns", True)  # Streamlit's default without our configuration
    app.switch_page("pages/glossary.py")
    app.run()
    assert config.get_option("runner.fastReruns") is False


def test_the_view_survives_a_page_switch(app: AppTest) -> None:
    app.switch_page("pages/compare.py")
    app.query_params["score"] = "0.40"
    app.query_params["image"] = "hens.jpg"
    app.run()
    app.query_params.clear()
    app.switch_page("app.py")
    app.run()
    assert app.session_state["qviz_view"].score == 0.40
    assert app.session_state["qviz_view"].image == "hens.jpg"


def test_a_better_reference_loaded_later_is_used() -> None:
    """The reference selection must not stay at its first value."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    for scheme in ("int8", "float32"):
        path = ROOT / "sample_data" / "models" / f"ssdlite_mobilenet_v2_{scheme}.tflite"
        app.file_uploader[0].upload(path.name, path.read_bytes()).run()
        app.run()
        assert not app.exception
    (chosen,) = [box for box in app.selectbox if str(box.label).startswith("Reference")]
    assert chosen.options[chosen.index] == "float32"


def test_what_the_address_names_and_is_not_loaded_is_named(app: AppTest) -> None:
    app.switch_page("pages/compare.py")
    app.query_params["image"] = "dusk.jpg"
    app.query_params["variant"] = "int4"
    app.run()
    assert "The address names the image dusk.jpg and the variant int4, which are not loaded here." in [
        warning.value.replace("\\", "") for warning in app.warning
    ]
    app.query_params["image"] = "hens.jpg"
    app.query_params["variant"] = "int8"
    app.run()
    assert not app.warning


def test_the_risk_of_objects_is_a_column_of_compare_after_a_click(app: AppTest) -> None:
    app.switch_page("pages/compare.py")
    app.query_params["variant"], app.query_params["score"] = "int8_wrong_range", "0.25"
    app.run()
    next(button for button in app.button if button.label == "Who will be lost?").click().run()
    end = time.monotonic() + 60
    while not any("risk" in table.value and "change" in table.value for table in app.dataframe):
        assert time.monotonic() < end and not app.exception
        time.sleep(0.3)
        app.run()
    objects = next(table.value for table in app.dataframe if "change" in table.value)
    of_reference = objects[objects["change"] != "spurious"]
    assert of_reference["risk"].between(0, 1).all() and objects["risk"].notna().sum() == len(of_reference)
    captions = " ".join(caption.value for caption in app.caption).replace("\\", "")
    assert "Lost: " in captions and " observed. AUROC" in captions
