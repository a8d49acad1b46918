"""A dropped archive: an annotated dataset becomes the session's, images alone stay images."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st

from qviz.ui import uploads, workspace
from tests.datasets.layouts import packed, voc_object, voc_xml
from tests.datasets.test_archives import YOLO, coco
from tests.datasets.tfrecords import png

VOC: dict[str, str | bytes] = {"v/a.xml": voc_xml(voc_object(1, 1, 9, 9) + voc_object(1, 1, 9, 0)), "v/a.png": png()}
DROPPED = [
    (YOLO, "x.zip (val)", ()),
    (VOC, "x.zip", ("x.zip: 1 annotation whose box has no area",)),
    (
        {"x.json": coco("a.png", "gone.png"), "a.png": png()},
        "x.zip: x.json",
        ("x.zip: x.json: 1 image whose file is missing",),
    ),
]


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    st.session_state.clear()
    yield
    st.session_state.clear()


@pytest.mark.parametrize(("files", "name", "notices"), DROPPED)
def test_a_dataset_in_an_archive(files: dict[str, str | bytes], name: str, notices: tuple[str, ...]) -> None:
    uploads.load_files([("x.zip", packed(files))])
    held = workspace.current()
    assert held.dataset is not None
    assert (held.dataset.name, held.dataset.annotations) == (name, 1)
    assert [image.name for image in held.images] == ["a.png"]
    assert held.notices == notices


def test_images_alone() -> None:
    uploads.load_files([("x.zip", packed({"in/a.png": png(), "in/b.png": png(30)}))])
    held = workspace.current()
    assert (held.dataset, [image.name for image in held.images], held.notices) == (None, ["a.png", "b.png"], ())


def test_images_come_in_where_their_annotations_cannot_be_used() -> None:
    uploads.load_files([("x.zip", packed({**YOLO, "data.yaml": "val: images/none\nnames: [cat]\n"}))])
    held = workspace.current()
    assert (held.dataset, [image.name for image in held.images]) == (None, ["a.png"])
    assert "x.zip has no images there" in held.notices[0]


def test_a_damaged_archive_is_said_once() -> None:
    uploads.load_files([("x.zip", b"PK\x03\x04 and nothing")])
    assert len(workspace.current().notices) == 1


class Dropped:
    """What Streamlit's uploader holds of a file."""

    file_id = "1"
    name = "a.png"

    def getvalue(self) -> bytes:
        return png()


class CutShort(BaseException):
    """As Streamlit leaves a run when the next one is asked for."""


def drop_while(monkeypatch: pytest.MonkeyPatch, trouble: BaseException) -> None:
    """A drop in a run in which the workspace cannot be kept."""

    def keep(held: workspace.Workspace) -> None:
        raise trouble

    st.session_state[f"{uploads.ZONE}-0"] = [Dropped()]
    with monkeypatch.context() as patch, pytest.raises(type(trouble)):
        patch.setattr(workspace, "keep", keep)
        uploads.take_dropped_files()
    assert workspace.current().images == ()


def test_a_drop_whose_run_is_cut_short_is_taken_in_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_while(monkeypatch, CutShort())
    uploads.take_dropped_files()
    assert [image.name for image in workspace.current().images] == ["a.png"]
    assert st.session_state[uploads.COUNT] == 1  # the zone that is drawn now is another, and empty


def test_a_drop_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_while(monkeypatch, RuntimeError())
    uploads.take_dropped_files()
    assert workspace.current().images == ()
