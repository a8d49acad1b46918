"""Files of one session: identified by their bytes, separate from other sessions."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.features.detection.models import ModelSource
from qviz.limits import limits
from qviz.structures import EncodedImage, Settings
from qviz.ui.workspace import Workspace, changed_parts
from tests.conftest import Sample


def test_equal_files_are_stored_once_and_equal_names_numbered() -> None:
    first, second = EncodedImage("a.jpg", b"1"), EncodedImage("a.jpg", b"2")
    session = Workspace().with_images([first]).with_images([second, EncodedImage("b.jpg", b"1")])
    assert [image.name for image in session.images] == ["a.jpg", "b.jpg"]
    assert [image.data for image in session.images] == [b"2", b"1"]
    both = Workspace().with_images([first, second])
    assert [image.name for image in both.images] == ["a.jpg", "a.jpg (2)"]


def test_models_over_the_limit_are_reported() -> None:
    session = Workspace().with_models(
        [ModelSource(f"{n}.tflite", bytes([n])) for n in range(limits().session_models + 1)]
    )
    assert len(session.models) == limits().session_models
    assert str(limits().session_models) in session.notices[0]


@pytest.mark.parametrize(("line", "expected"), [("session_images = 3", 3), ("session_images_mb = 2", 2)])
def test_images_over_the_limit_are_counted(line: str, expected: int, limited: Callable[[str], None]) -> None:
    limited(line)
    session = Workspace().with_images([EncodedImage(f"{n}.jpg", bytes([n]) * (1 << 20)) for n in range(5)])
    assert [image.name for image in session.images] == [f"{n}.jpg" for n in range(expected)]
    assert session.notices[0].startswith(f"Only {expected} of 5 images were loaded: a session holds at most ")


def test_settings_of_one_model_do_not_change_others() -> None:
    one, two = ModelSource("1.tflite", b"1"), ModelSource("2.tflite", b"2")
    session = Workspace().with_models([one, two]).with_settings(one.digest, Settings(channels="bgr"))
    assert [model.settings.channels for model in session.models] == ["bgr", None]


def test_a_removed_reference_is_no_longer_selected() -> None:
    one = ModelSource("1.tflite", b"1")
    assert Workspace(models=(one,), reference=one.digest).without_model(one.digest).reference is None


def model(name: str, data: bytes, **values: object) -> ModelSource:
    return replace(ModelSource(name, data), **values)  # type: ignore[arg-type]


def test_a_newer_file_of_the_same_name_replaces_the_model_and_takes_over_its_role() -> None:
    old = model("int8.tflite", b"1.3", shown="release", settings=Settings(channels="bgr"))
    session = Workspace(models=(model("float32.tflite", b"f"), old), reference=old.digest)
    new = model("int8.tflite", b"1.4")
    session = session.with_replaced([new])
    assert [source.data for source in session.models] == [b"f", b"1.4"]
    assert (session.models[1].shown, session.models[1].settings.channels) == ("release", "bgr")
    assert session.reference == new.digest
    assert [row.source for row in session.earlier] == [old]
    assert session.notices[0].startswith("int8.tflite was replaced by the file that you just dropped.")
    back = session.with_earlier(old.digest)
    assert back.earlier == ()
    assert [source.data for source in back.models] == [b"f", b"1.4", b"1.3"]
    assert back.models[2].shown.startswith("release until ")


def test_files_of_one_drop_with_the_same_name_stay() -> None:
    session = Workspace().with_replaced([model("a.tflite", b"1"), model("a.tflite", b"2")])
    assert [source.data for source in session.models] == [b"1", b"2"]
    assert session.earlier == ()


def test_earlier_models_are_bounded_and_the_bundled_ones_are_none() -> None:
    session = Workspace()
    for number in range(limits().session_models + 3):
        session = session.with_replaced([model("a.tflite", bytes([number]))])
    assert [row.source.data[0] for row in session.earlier] == list(range(limits().session_models + 1, 1, -1))
    bundled = Workspace(models=(model("a.tflite", b"1"),), is_sample=True)
    assert bundled.without_model(bundled.models[0].digest).earlier == ()


def test_the_annotations_of_removed_images_go_too(sample: Sample) -> None:
    dataset = read_coco(sample.folder / "annotations.json", sample.images)
    session = replace(Workspace().with_images(list(load_images([sample.images]))), dataset=dataset)
    removed, count = session.images[0], len(dataset.images)
    rest = session.without_images([removed.digest])
    assert removed.name not in {image.name for image in (*rest.images, *rest.dataset.images)}  # type: ignore[union-attr]
    assert len(rest.images) == len(rest.dataset.images) == count - 1  # type: ignore[union-attr]
    assert session.without_images([image.digest for image in session.images]).dataset is None


def test_a_model_in_quarantine_is_not_run() -> None:
    one, two = model("1.tflite", b"1"), model("2.tflite", b"2")
    session = Workspace(models=(one, two), quarantine={one.digest: "crashed"})
    assert session.runnable == [two]
    assert session.without_quarantine(one.digest).runnable == [one, two]
    assert changed_parts(session, session.without_quarantine(one.digest)) == ["quarantine"]
