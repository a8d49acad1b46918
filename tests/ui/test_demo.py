"""The demo of an empty project: a button opens it, as a project that the address opens again."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from qviz.ui import projects, workspace
from qviz.ui.demo import FOLDER, NAME, demo
from qviz.ui.workspace import Workspace
from tests.conftest import ROOT

MAX_BYTES = 150_000


def test_the_button_opens_the_demo_as_a_project() -> None:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    app.session_state[workspace.KEY] = Workspace()
    app.run()
    next(button for button in app.button if button.label == "Open the demo").click().run()
    assert not app.exception
    opened = app.session_state[workspace.KEY]
    assert (opened.name, len(opened.models), len(opened.images)) == (NAME, 2, 8)
    assert not [button for button in app.button if button.label == "Open the demo"]
    project = app.session_state[projects.KEY]
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=180)
    again.query_params[projects.PARAMETER] = project
    again.run()
    assert not again.exception
    assert [model.digest for model in again.session_state[workspace.KEY].models] == [m.digest for m in opened.models]


def test_it_is_small_and_annotated() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MAX_BYTES
    dataset = demo().dataset
    assert dataset is not None
    assert [len(image.boxes) for image in dataset.images] == [4] * 8
