"""Uploaded archives: an annotated dataset becomes the session's dataset, images without annotations its images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import streamlit as st

from qviz.features.detection.models import ModelSource
from qviz.structures import EncodedImage
from qviz.ui import sample, uploads, workspace
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
        ("x.zip: x.json: 1 image whose file is missing (first: gone.png is not in x.zip)",),
    ),
]


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    st.session_state.clear()
    yield
    st.session_state.clear()


@pytest.mark.parametrize(("files", "name", "notices"), DROPPED)
def test_a_dataset_in_an_archive_becomes_the_sessions(
    files: dict[str, str | bytes], name: str, notices: tuple[str, ...]
) -> None:
    uploads.load_files([("x.zip", packed(files))])
    session = workspace.current()
    assert session.dataset is not None
    assert (session.dataset.name, session.dataset.annotations) == (name, 1)
    assert [image.name for image in session.images] == ["a.png"]
    assert session.notices == notices


def test_an_archive_of_images_only() -> None:
    uploads.load_files([("x.zip", packed({"in/a.png": png(), "in/b.png": png(30)}))])
    session = workspace.current()
    assert (session.dataset, [image.name for image in session.images], session.notices) == (
        None,
        ["a.png", "b.png"],
        (),
    )


def test_images_are_loaded_if_their_annotations_are_unusable() -> None:
    uploads.load_files([("x.zip", packed({**YOLO, "data.yaml": "val: images/none\nnames: [cat]\n"}))])
    session = workspace.current()
    assert (session.dataset, [image.name for image in session.images]) == (None, ["a.png"])
    assert "x.zip has no images there" in session.notices[0]
    assert session.notices[0].endswith("The 1 image is loaded without them.")


def test_images_are_confirmed_if_the_annotations_beside_them_do_not_fit() -> None:
    other = {
        "images": [{"id": 1, "file_name": "other.png", "width": 9, "height": 9}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    annotations = {
        **other,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "area": 25}],
    }
    uploads.load_files([("a.png", png()), ("b.png", png(30)), ("ann.json", json.dumps(annotations).encode())])
    session = workspace.current()
    assert (session.dataset, [image.name for image in session.images]) == (None, ["a.png", "b.png"])
    (notice,) = session.notices
    assert "ann.json" in notice and notice.endswith("The 2 images are loaded without them.")


def test_a_damaged_archive_gives_one_notice() -> None:
    uploads.load_files([("x.zip", b"PK\x03\x04 and nothing")])
    assert len(workspace.current().notices) == 1


class Dropped:
    """A file as Streamlit's uploader returns it."""

    file_id = "1"
    name = "a.png"

    def getvalue(self) -> bytes:
        return png()


class CutShort(BaseException):
    """The exception with which Streamlit interrupts a run for the next one."""


def drop_while(monkeypatch: pytest.MonkeyPatch, trouble: BaseException) -> None:
    """An upload in a run that fails when it stores the workspace."""

    def keep(session: workspace.Workspace) -> None:
        raise trouble

    st.session_state[f"{uploads.ZONE}-0"] = [Dropped()]
    with monkeypatch.context() as patch, pytest.raises(type(trouble)):
        patch.setattr(workspace, "keep", keep)
        uploads.take_dropped_files()
    assert workspace.current().images == ()


def test_an_upload_in_an_interrupted_run_is_loaded_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_while(monkeypatch, CutShort())
    uploads.take_dropped_files()
    assert [image.name for image in workspace.current().images] == ["a.png"]
    assert st.session_state[uploads.COUNT] == 1  # the upload field is a new, empty one


def test_a_failing_upload_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drop_while(monkeypatch, RuntimeError())
    uploads.take_dropped_files()
    assert workspace.current().images == ()


STRAY = [
    ("a.json", b'{"a":1}'),
    ("0001.txt", b"0 0.5 0.5 0.1 0.1\n"),
    ("requirements.txt", b"numpy==1.26\n"),
    ("size.json", b'{"width": 640, "height": 480}'),
]


@pytest.mark.parametrize(("name", "data"), STRAY)
def test_a_stray_file_is_refused_in_a_sentence(name: str, data: bytes) -> None:
    uploads.load_files([(name, data)])
    (notice,) = workspace.current().notices
    assert name in notice and "label" in notice
    assert workspace.drops() == ()


def test_drops_are_taken_back_one_by_one() -> None:
    uploads.load_files([("x.zip", packed(YOLO))])
    uploads.load_files([("b.png", png(30)), ("bad.json", b'{"a":1}')])
    assert [image.name for image in workspace.current().images] == ["b.png", "a.png"]
    assert [drop.text for drop in workspace.drops()] == ["2 files", "x.zip"]
    workspace.undo_drop()
    session = workspace.current()
    assert [image.name for image in session.images] == ["a.png"]
    assert session.dataset is not None and session.notices == ()
    workspace.undo_drop()
    assert (workspace.current().images, workspace.current().dataset, workspace.drops()) == ((), None, ())
    workspace.undo_drop()  # nothing is left


def test_taking_back_labels_keeps_what_came_later() -> None:
    one, two = ModelSource("1.tflite", b"1"), ModelSource("2.tflite", b"2")
    before = workspace.Workspace(models=(one,))
    labelled = replace(one, settings=replace(one.settings, labels=("cat",)))
    after = replace(before, models=(labelled,))
    drop = workspace.Drop(("labels.txt",), before, after)
    later = after.with_models([two]).with_images([EncodedImage("a.png", png())])
    undone = drop.undone(later)
    assert [(model.name, model.settings.labels) for model in undone.models] == [("1.tflite", None), ("2.tflite", None)]
    assert [image.name for image in undone.images] == ["a.png"]


def test_own_images_replace_those_of_the_sample() -> None:
    workspace.keep(sample.sample())
    uploads.load_files([("own.png", png())])
    session = workspace.current()
    assert [image.name for image in session.images] == ["own.png"]
    assert session.dataset is None and session.is_sample
    uploads.load_files([("second.png", png(30))])
    assert [image.name for image in workspace.current().images] == ["second.png", "own.png"]
    workspace.undo_drop()
    workspace.undo_drop()
    assert len(workspace.current().images) == 27


def wide_png(shift: int, value: int = 100) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.full((8, 8, 3), value << shift, np.uint16))[1])


@pytest.mark.parametrize(("shift", "sentences"), [(0, 1), (4, 1), (8, 0)])
def test_dropped_images_of_16_bits_that_are_nearly_black_are_named(shift: int, sentences: int) -> None:
    uploads.load_files([("wide.png", wide_png(shift)), ("a.png", png())])
    notices = workspace.current().notices
    assert len(notices) == sentences
    assert all("wide.png is nearly black: 16 bits per value, but no value is above" in notice for notice in notices)


def test_several_dark_images_are_one_sentence() -> None:
    uploads.load_files([(f"{value}.png", wide_png(0, value)) for value in (10, 20, 30)])
    (notice,) = workspace.current().notices
    assert notice.endswith("So are 2 other images.")
