"""Building from the Variants page adds a model to the session; impossible builds are explained beforehand."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from qviz.errors import SettingsError
from qviz.features.building.panel import Choice, parse_operators, refusal
from qviz.features.building.recipes import RECIPES, Options
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from tests.conftest import ROOT, Sample

LIMIT = 150
REFERENCE = "ssdlite_mobilenet_v2_float32"


@pytest.fixture(scope="module")
def app() -> AppTest:
    """The sample with its reference and one of its images."""
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    session = opened.session_state["qviz_workspace"]
    opened.session_state["qviz_workspace"] = replace(session, images=session.images[:1], models=session.models[:1])
    opened.switch_page("pages/variants.py")
    return opened.run()


def _loaded(app: AppTest) -> list[str]:
    return [source.name for source in app.session_state["qviz_workspace"].models]


def _texts(app: AppTest) -> str:
    return " ".join(item.value for item in app.text)


def test_an_incompatible_recipe_is_explained_before_the_build(app: AppTest) -> None:
    app.selectbox(key="build-recipe").select("dynamic_range_int4_blockwise").run()
    assert "No operator in this network suits recipe dynamic_range_int4_blockwise" in _texts(app)
    assert app.button(key="build-start").disabled


def test_unknown_operator_names_are_reported(app: AppTest) -> None:
    app.selectbox(key="build-recipe").select("int8").run()
    app.text_input(key="build-keep").set_value("0-3, nowhere").run()
    assert "No operator's name contains 'nowhere'" in _texts(app)
    app.text_input(key="build-keep").set_value("").run()
    app.text_input(key="build-wide").set_value("124").run()
    assert "None of these operators has a 16-bit kernel: TFLite_Detection_PostProcess." in _texts(app)
    app.text_input(key="build-wide").set_value("").run()
    assert not app.button(key="build-start").disabled


def test_cures_that_fit_the_recipe_are_offered(app: AppTest) -> None:
    app.selectbox(key="build-recipe").select("int8").run()
    cures = app.multiselect(key="build-cures")
    assert cures.options == ["split head", "equalize", "split channels", "round weights", "correct biases"]
    cures.select("split_channels").run()
    notes = " ".join(block.proto.body for block in app.get("html"))
    assert "split channels: quiet and loud channels are computed in two parts" in notes
    app.selectbox(key="build-recipe").select("float16").run()
    assert app.multiselect(key="build-cures").options == ["split head", "equalize"] and not app.exception
    assert app.multiselect(key="build-cures").value == []
    app.selectbox(key="build-recipe").select("int8").run()


def test_integer_recipes_require_calibration_images(app: AppTest) -> None:
    app.segmented_control(key="build-images").set_value("Other images").run()
    assert "Choose calibration images first" in _texts(app)
    assert app.button(key="build-start").disabled


def test_a_built_model_is_added_to_the_session(app: AppTest) -> None:
    app.selectbox(key="build-recipe").select("dynamic_range").run()
    app.selectbox(key="build-algorithm").select("octav").run()
    app.button(key="build-start").click().run()
    end = time.monotonic() + LIMIT
    while len(_loaded(app)) < 2 and time.monotonic() < end:
        time.sleep(0.3)
        app.run()
    assert not app.exception and not app.error
    assert _loaded(app) == [f"{REFERENCE}.tflite", f"{REFERENCE} + dynamic_range (octav).tflite"]
    notes = " ".join(block.proto.body for block in app.get("html") if "qviz-note" in block.proto.body)
    assert "+ dynamic_range (octav).tflite is loaded: dynamic_range, 5.0" in notes, notes
    labels = [button.label for button in app.get("download_button")]
    assert labels == ["Download the file", "Download as one file"]  # the variant, and the project
    app.run()
    assert len(_loaded(app)) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ((), ())),
        ("0-2, 40", ((0, 1, 2, 40), ())),
        ("7 Box.*", ((7,), (r"Box\.\*",))),  # a name is taken literally, not as a pattern
        ("(a+)+$,3", ((3,), (r"\(a\+\)\+\$",))),
    ],
)
def test_operators_to_keep_in_float_are_parsed(text: str, expected: tuple[tuple[int, ...], tuple[str, ...]]) -> None:
    assert parse_operators(text) == expected


def test_a_descending_range_is_refused() -> None:
    with pytest.raises(SettingsError, match="9-3 is not a range of operators"):
        parse_operators("9-3")


@pytest.mark.parametrize(
    ("options", "method", "name"),
    [
        (Options(), "mean", "a + int8.tflite"),
        (Options(keep_orders=(0, 1, 2, 9)), "mean", "a + int8 (0-2 9 float).tflite"),
        (Options(keep_float=("Box",), keep_orders=(1,)), "mean", "a + int8 (some float).tflite"),
        (Options(keep_orders=tuple(range(0, 40, 2))), "mean", "a + int8 (some float).tflite"),
        (Options(wide_orders=(0, 1, 2), keep_orders=(9,)), "mean", "a + int8 (9 float; 0-2 in 16 bits).tflite"),
        (
            Options("uint8", "octav", (), (1,)),
            "moving_average",
            "a + int8 (octav; uint8 in and out; moving average; 1 float).tflite",
        ),
    ],
)
def test_variant_names_describe_recipe_and_options(options: Options, method: str, name: str) -> None:
    assert Choice(RECIPES["int8"], options, method).name("a.tflite") == name


def test_cures_of_a_choice_need_images_and_are_named(loaded: dict[str, LoadedModel], sample: Sample) -> None:
    cures = "equalize", "round_weights"
    choice = Choice(RECIPES["int8"], Options(), cures=cures)
    assert choice.name("a.tflite") == "a + int8 (equalize; round weights).tflite"
    assert "calibration images" in refusal(loaded["float32"], choice)
    image = EncodedImage("hens.jpg", (sample.images / "hens.jpg").read_bytes())
    assert "at least 2" in refusal(loaded["float32"], replace(choice, images=(image,)))
    assert refusal(loaded["float32"], replace(choice, images=(image, image))) == ""
