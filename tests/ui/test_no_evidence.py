"""Pages give no verdict before there is evidence; a stray file is refused, and what was dropped can be taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from qviz.features.comparison.matching import summarise
from qviz.ui import workspace
from qviz.ui.workspace import Workspace
from tests.conftest import ROOT
from tests.datasets.tfrecords import png

WORDS = (">unchanged<", ">slightly changed<", ">damaged<", ">broken<")


def html(app: AppTest) -> str:
    """Everything that the page draws as HTML or text."""
    return " ".join(str(item.value) for kind in ("html", "markdown", "warning", "caption") for item in app.get(kind))


@pytest.fixture(scope="module")
def app() -> Iterator[AppTest]:
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()


def test_a_stray_file_leaves_a_sentence_and_no_labels(app: AppTest) -> None:
    app.file_uploader[0].upload("a.json", b'{"a":1}').run()
    app.run()
    assert not app.exception
    assert any("a\\.json is not used" in item.value for item in app.warning)
    session: Workspace = app.session_state[workspace.KEY]
    assert all(model.settings.labels is None for model in session.models)
    assert not [button for button in app.button if str(button.label).startswith("Undo")]


def test_a_dropped_image_is_taken_back(app: AppTest) -> None:
    app.file_uploader[0].upload("mine.png", png()).run()
    app.run()
    assert app.session_state[workspace.KEY].images[0].name == "mine.png"
    (undo,) = [button for button in app.button if str(button.label).startswith("Undo")]
    assert "mine" in str(undo.label)
    undo.click().run()
    assert not app.exception
    names = [image.name for image in app.session_state[workspace.KEY].images]
    assert "mine.png" not in names and names


def test_labels_are_taken_back_and_the_sample_is_one_click_away(app: AppTest) -> None:
    app.file_uploader[0].upload("labels.txt", b"red\ngreen\nblue\n").run()
    app.run()
    session: Workspace = app.session_state[workspace.KEY]
    assert {model.settings.labels for model in session.models} == {("red", "green", "blue")}
    assert [button for button in app.button if str(button.label).startswith("Undo")]
    (back,) = [button for button in app.button if str(button.label) == "Back to the sample"]
    back.click().run()
    assert not app.exception
    session = app.session_state[workspace.KEY]
    assert session.is_sample and {model.settings.labels for model in session.models} == {None}
    assert not [button for button in app.button if str(button.label).startswith("Undo")]


def test_a_photo_that_cannot_be_read_is_the_first_sentence(app: AppTest) -> None:
    app.file_uploader[0].upload("photo.jpg", b"no photo").run()
    for _ in range(100):
        if "No image could be run." in html(app):
            break
        time.sleep(0.1)
        app.run()
    shown = html(app)
    assert "No image could be run." in shown and "photo.jpg" in shown.partition("No image could be run.")[2][:200]
    assert not app.exception


def test_a_cold_overview_has_no_word_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an image has run: as if no result arrived."""
    from qviz.features.comparison import ComparedVariant
    from qviz.ui import server

    def compared(models: server.Models, variant: object, images: object, score: float) -> ComparedVariant:
        return ComparedVariant(models.name(variant), "int8", "0", ())  # type: ignore[arg-type]

    monkeypatch.setattr(server, "compared", compared)
    cold = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()
    assert not cold.exception
    shown = html(cold)
    assert "No image has been run yet." in shown
    assert "no image has been run yet" in shown and "–" in shown
    assert not [word for word in WORDS if word in shown]
    assert "1.00" not in shown and 'class="level' not in shown
    assert summarise([], []).agreement is None


def test_a_project_without_models_shows_the_zone_first_and_what_will_come() -> None:
    fresh = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    fresh.session_state[workspace.KEY] = Workspace()
    fresh.run()
    assert not fresh.exception
    assert len(fresh.file_uploader) == 1
    shown = html(fresh)
    assert "No model is loaded." in shown and "a card" in shown.lower()
    assert not [word for word in WORDS if word in shown]


def test_recorded_results_of_other_images_are_named_and_left_out(app: AppTest) -> None:
    rows = b'[{"file_name": "elsewhere.jpg", "label": "bird", "bbox": [1, 1, 9, 9], "score": 0.9}]'
    float32 = ROOT / "sample_data" / "models" / "ssdlite_mobilenet_v2_float32.tflite"
    app.file_uploader[0].upload(float32.name, float32.read_bytes()).run()
    app.run()
    app.file_uploader[0].upload("phone.json", rows).run()
    app.run()
    assert not app.exception
    texts = [item.value.replace("\\", "") for item in app.warning]
    assert any("phone.json has results for none of the images" in text for text in texts), texts
    assert html(app).count("· reference") == 1 and ">phone<" not in html(app)
