"""Models and images of a project on Overview: found, renamed, removed; a model that ended its worker waits."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from qviz.features.comparison import ComparedImage, ComparedObject, ComparedVariant
from qviz.features.comparison.panel_files import image_rows
from qviz.structures import EncodedImage
from tests.conftest import ROOT

IMAGES = [EncodedImage(f"{name}.jpg", name.encode()) for name in ("dusk", "dawn", "noon")]


def compared_object(change: str, label: str) -> ComparedObject:
    return ComparedObject(change, label, *([None] * 10))


def test_images_are_filtered_by_name_class_and_change() -> None:
    objects = {"dusk": [("lost", "traffic light"), ("kept", "car")], "dawn": [("kept", "car")]}
    rows = [
        ComparedImage(image.name, image.digest, tuple(compared_object(*row) for row in objects[image.data.decode()]))
        for image in IMAGES[:2]
    ]
    table = image_rows(IMAGES, [ComparedVariant("int8", "int8", "0", tuple(rows))])

    def names(words: str, *changes: str) -> list[str]:
        return [row.image.name for row in table if row.fits(words, changes)]

    assert names("") == ["dusk.jpg", "dawn.jpg", "noon.jpg"]
    assert names("DU") == names("light traffic") == names("", "lost", "shifted") == ["dusk.jpg"]
    assert names("car") == ["dusk.jpg", "dawn.jpg"]
    assert names("car", "shifted") == names("bus") == []


@pytest.fixture(scope="module")
def app() -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=180).run()


def test_a_model_is_renamed_removed_and_brought_back(app: AppTest) -> None:
    int8 = app.session_state["qviz_workspace"].models[1]
    app.session_state["qviz_workspace"] = replace(app.session_state["qviz_workspace"], is_sample=False)
    app.run()
    app.text_input(f"model-name-{int8.digest}-int8").set_value("release 1.3").run()
    assert "release 1.3" in [field.value for field in app.text_input]
    assert int8.name in " ".join(item.value for item in app.caption).replace("\\", "")
    app.button(f"remove-{int8.digest}").click().run()
    assert "release 1.3" not in [field.value for field in app.text_input]
    app.button(f"earlier-{int8.digest}").click().run()
    assert "release 1.3" in [field.value for field in app.text_input]
    assert not app.exception


def test_a_model_in_quarantine_runs_when_the_user_says_so(app: AppTest) -> None:
    current = app.session_state["qviz_workspace"]
    last = current.models[-1]
    app.session_state["qviz_workspace"] = replace(current, quarantine={last.digest: "The worker process crashed."})
    app.run()
    (warning,) = [item.value for item in app.warning if "crashed its worker process" in item.value]
    assert "is not run automatically" in warning
    assert len([key for key in app.text_input if "model-name" in (key.key or "")]) == len(current.models) - 1
    app.button(f"again-{last.digest}").click().run()
    assert not app.warning
    assert not app.exception


def test_a_project_stores_no_bundled_file_again(app: AppTest) -> None:
    current = app.session_state["qviz_workspace"]
    app.session_state["qviz_workspace"] = replace(current, name="dusk", is_sample=True, earlier=())
    app.run()
    folder = Path(os.environ["QVIZ_DATA"]) / "projects" / app.session_state["qviz_project"]
    assert (folder / "project.json").is_file()
    assert list((folder / "blobs").iterdir()) == []
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    again.query_params["project"] = folder.name
    restored = again.run().session_state["qviz_workspace"]
    assert (restored.name, restored.notices) == ("dusk", ())
    assert (restored.models, restored.images) == (current.models, current.images)
    assert again.query_params["project"] == folder.name


def test_a_disk_that_cannot_be_written_loses_nothing_and_is_named(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("QVIZ_DATA", "/proc/self/qviz")  # refuses its administrator, too
        current = replace(app.session_state["qviz_workspace"], name="dawn")
        app.run()
        app.session_state["qviz_workspace"] = current
        app.run()
        texts = [item.value.replace("\\", "") for item in app.sidebar.warning]
        assert any(text.startswith("The project cannot be saved") for text in texts), texts
        assert app.session_state["qviz_workspace"].models == current.models
        assert "qviz_project" not in app.session_state, "the address names nothing that is not on disk"
    app.button("project-save").click().run()
    assert not app.sidebar.warning
    assert (Path(os.environ["QVIZ_DATA"]) / "projects" / app.session_state["qviz_project"] / "project.json").is_file()
