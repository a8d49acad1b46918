"""Files of one session: identified by their bytes, separate from other sessions."""

from collections.abc import Callable

import pytest

from qviz.features.detection.models import ModelSource
from qviz.limits import limits
from qviz.structures import EncodedImage, Settings
from qviz.ui.workspace import Workspace


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
